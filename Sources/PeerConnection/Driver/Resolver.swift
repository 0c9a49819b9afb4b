internal import CLinux
internal import Glibc
internal import NIOPosix
internal import SansIO

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
            guard let address = unsafe entry.pointee.ai_addr, let ip = unsafe TransportAddress(address)?.ip,
                !found.contains(ip)
            else { continue }
            found.append(ip)
        }
        return found
    }
}

/// A `stun:` URL taken apart. RFC 7064 §3.1
struct STUNServerURL {
    var host: String
    var port: UInt16

    /// Parses `stun:host[:port]`; nil for other schemes or a broken form.
    init?(_ url: String) {
        guard url.lowercased().hasPrefix("stun:") else { return nil }
        var rest = url.dropFirst("stun:".count).prefix { $0 != "?" }
        var portText: Substring?
        if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
            let after = rest[rest.index(after: end)...]
            if after.hasPrefix(":") { portText = after.dropFirst() } else if !after.isEmpty { return nil }
            rest = rest[rest.index(after: rest.startIndex)..<end]
        } else if let colon = rest.lastIndex(of: ":") {
            portText = rest[rest.index(after: colon)...]
            rest = rest[..<colon]
        }
        guard !rest.isEmpty, rest.utf8.count <= 253 else { return nil }
        if let portText {
            guard let port = UInt16(portText), port > 0 else { return nil }
            self.port = port
        } else {
            port = 3478
        }
        host = String(rest)
    }
}
