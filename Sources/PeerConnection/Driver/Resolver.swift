internal import CLinux
internal import Glibc
internal import MDNS
internal import NIOPosix
internal import SansIO
internal import UDPSockets

/// Looks names up on threads of its own, so that a slow name server delays nothing else.
enum Resolver {
    /// For names of servers: each has a thread unless there are very many, so that a dead name delays no live one.
    private static let serverThreads = started(16)
    /// For names that peers send, which may be dead on purpose.
    private static let peerThreads = started(8)

    private static func started(_ count: Int) -> NIOThreadPool {
        let pool = NIOThreadPool(numberOfThreads: count)
        pool.start()
        return pool
    }

    /// Most addresses that are taken from one answer.
    static let addressLimit = 8

    /// The addresses of a server's name or of an address's text; empty when there are none.
    static func addresses(of host: String, onResult: @escaping @Sendable ([IPAddress]) -> Void) {
        addresses(of: host, on: serverThreads, onResult: onResult)
    }

    private static func addresses(
        of host: String,
        on threads: NIOThreadPool,
        onResult: @escaping @Sendable ([IPAddress]) -> Void
    ) {
        if let ip = IPAddress(host) { return onResult([ip]) }
        threads.submit { state in
            guard case .active = state else { return onResult([]) }
            onResult(lookUp(host))
        }
    }

    /// The addresses of a name in a candidate: those of the local link (`.local`) by multicast DNS, others as of any host.
    ///
    /// Where the system knows multicast DNS as well, it is asked when our own question has no answer. Elsewhere it would
    /// ask name servers, which RFC 6762 §3 forbids and which would tell them the peer's names.
    static func addresses(
        ofCandidate host: String,
        mdns: MDNSService,
        onResult: @escaping @Sendable ([IPAddress]) -> Void
    ) {
        guard let name = DNSName(host), name.isLocal else {
            return addresses(of: host, on: peerThreads, onResult: onResult)
        }
        mdns.resolve(name) { found in
            guard found.isEmpty else { return onResult(found) }
            peerThreads.submit { state in
                guard case .active = state, systemKnowsLocalNames() else { return onResult([]) }
                onResult(lookUp(host))
            }
        }
    }

    /// Whether the system's resolver is set up with a module that asks by multicast DNS (nsswitch.conf(5)).
    private static func systemKnowsLocalNames() -> Bool {
        guard let file = unsafe fopen("/etc/nsswitch.conf", "re") else { return false }
        defer { unsafe fclose(file) }
        let byteLimit = 65_536
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: byteLimit) { buffer, count in
            count = unsafe fread(buffer.baseAddress, 1, byteLimit, file)
        }
        return NameServiceSwitch.knowsLocalNames(String(decoding: bytes, as: UTF8.self))
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

/// What nsswitch.conf(5) says.
package enum NameServiceSwitch {
    /// Whether the hosts line names nss-mdns (`mdns`, `mdns4_minimal`, …) or systemd-resolved's module (`resolve`).
    package static func knowsLocalNames(_ text: String) -> Bool {
        for line in text.split(whereSeparator: \.isNewline) {
            let words = (line.split(separator: "#", omittingEmptySubsequences: false).first ?? "")
                .split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.first == "hosts:" else { continue }
            return words.dropFirst().contains { $0.hasPrefix("mdns") || $0 == "resolve" }
        }
        return false
    }
}
