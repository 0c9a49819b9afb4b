internal import CLinux
internal import Glibc
internal import NIOPosix
internal import SansIO
internal import UDPSockets

/// Looks names up on NIO's thread pool, so that a slow name server delays nothing else.
enum Resolver {
    /// Most addresses that are taken from one answer.
    static let addressLimit = 8

    /// The addresses of a host name or of an address's text; empty when there are none.
    static func addresses(of host: String, onResult: @escaping @Sendable ([IPAddress]) -> Void) {
        if let ip = IPAddress(host) { return onResult([ip]) }
        NIOThreadPool.singleton.submit { state in
            guard case .active = state else { return onResult([]) }
            onResult(lookUp(host))
        }
    }

    private static func lookUp(_ host: String) -> [IPAddress] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        unsafe hints.ai_family = AF_UNSPEC
        var list: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { unsafe freeaddrinfo(list) }
        var found: [IPAddress] = []
        var next = unsafe list
        while let entry = unsafe next, found.count < addressLimit {
            unsafe next = entry.pointee.ai_next
            guard let address = unsafe entry.pointee.ai_addr, let ip = unsafe TransportAddress(sockaddrAt: address)?.ip,
                !found.contains(ip)
            else { continue }
            found.append(ip)
        }
        return found
    }
}
