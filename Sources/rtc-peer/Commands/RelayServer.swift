import Glibc
import SansIO
import Signaling
import TURNServer
import TURNService

/// A TURN server that runs, and how peers are told of it.
struct RelayServer: Sendable {
    let service: TURNService
    let endpoint: TURNEndpoint
    let secret: TURNSharedSecret
    /// As given.
    let listenHost: String
    let publicAddress: IPAddress?

    /// Seconds that credentials are good for.
    private static let lifetimeSeconds: Int64 = 24 * 3600

    /// What a peer is told: this server by each way that it speaks, and a user name and password until tomorrow.
    ///
    /// - Parameters:
    ///   - peer: its name in the room; quotas count by it.
    ///   - host: by which it reached the page or the signalling; may be empty.
    /// - Returns: a STUN server, and a TURN server by each way that it speaks.
    func iceServers(for peer: String, host: String) -> [SignalingICEServer] {
        let urls = urls(reachedBy: host)
        let credentials = secret.credentials(for: peer, expiry: Int64(time(nil)) + Self.lifetimeSeconds)
        var servers = [SignalingICEServer(urls: urls.stun)]
        if !urls.turn.isEmpty {
            servers.append(
                SignalingICEServer(urls: urls.turn, username: credentials.username, credential: credentials.password)
            )
        }
        return servers
    }

    /// For those who know the machine by its relayed address.
    var urls: [String] {
        let (stun, turn) = urls(reachedBy: "")
        return stun + turn
    }

    private func urls(reachedBy host: String) -> (stun: [String], turn: [String]) {
        let plain = publicAddress?.description ?? reachable(host)
        // A certificate is for a name, if the peer knows one.
        let isName = !host.isEmpty && IPAddress(host) == nil
        return endpoint.urls(host: plain, tlsHost: isName ? host : plain)
    }

    /// The host that a peer named, unless nothing is listening there.
    private func reachable(_ host: String) -> String {
        let listening = IPAddress(listenHost)
        let isEverywhere = listening?.isUnspecified ?? false
        let isLocal = host == "localhost" || host.hasSuffix(".localhost") || (IPAddress(host)?.isLoopback ?? false)
        if !host.isEmpty, isEverywhere || !isLocal { return host }
        if let listening, !listening.isUnspecified { return listening.description }
        return endpoint.relayIPs.first?.description ?? "127.0.0.1"
    }

    /// What is told to a person.
    var words: [String] {
        var ways = ["UDP \(endpoint.udpPort)", "TCP \(endpoint.tcpPort)"]
        if let port = endpoint.tlsPort { ways.append("TLS \(port)") }
        let relays = endpoint.relayIPs.map(\.description).joined(separator: ", ")
        var lines = ["STUN and TURN: \(ways.joined(separator: ", ")); relayed addresses are at \(relays)"]
        if publicAddress == nil, let ip = endpoint.relayIPs.first, !PeerAddressPolicy().permits(ip) {
            lines.append("  \(ip) is not an address of the internet: for peers out there give --turn-address")
        }
        return lines
    }
}
