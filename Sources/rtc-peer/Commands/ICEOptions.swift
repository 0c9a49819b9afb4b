import ArgumentParser
import Glibc
import PeerConnection
import Signaling

/// Options of the servers that help two machines to reach each other.
struct ICEOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A STUN or TURN server for all who meet here. May be repeated. Example: --ice-server turn:turn.example.org",
            valueName: "URL"
        )
    )
    var iceServer: [String] = []

    @Option(help: ArgumentHelp("Who the TURN servers know this as. Example: --turn-user anna", valueName: "NAME"))
    var turnUser: String?

    @Option(
        help: ArgumentHelp(
            "The password of --turn-user; without it TURN_PASSWORD in the environment, which others on this machine cannot see. Example: --turn-password secret",
            valueName: "TEXT"
        )
    )
    var turnPassword: String?

    @Option(
        help: ArgumentHelp(
            "A PEM file of authorities of your own that vouch for turns: servers. Example: --turn-authorities ca.pem",
            valueName: "FILE"
        )
    )
    var turnAuthorities: String?

    @Flag(
        help:
            "Go through TURN servers only: the other side does not learn this machine's addresses. Example: --relay-only"
    )
    var relayOnly = false

    @Flag(
        help:
            "Tell the other side names (….local) in place of this machine's addresses; only the same network can look them up, others need a STUN or TURN server. Example: --hide-addresses"
    )
    var hideAddresses = false

    func validate() throws {
        for url in iceServer where !["stun:", "turn:", "turns:"].contains(where: { url.hasPrefix($0) }) {
            throw ValidationError(
                "--ice-server \(url): begin it with stun:, turn: or turns:, as stun:stun.example.org:3478"
            )
        }
        if let turnAuthorities, unsafe access(turnAuthorities, R_OK) != 0 {
            throw ValidationError(
                "--turn-authorities \(turnAuthorities): \(unsafe String(cString: strerror(errno)))"
            )
        }
        if turnPassword != nil, turnUser == nil { throw ValidationError("--turn-password needs --turn-user") }
        if turnUser != nil, password == nil {
            throw ValidationError("--turn-user needs --turn-password, or TURN_PASSWORD in the environment")
        }
    }

    /// How connections are set up with them.
    var configuration: RTCConfiguration {
        var configuration = RTCConfiguration()
        configuration.iceServers = servers
        configuration.iceServerAuthorities = turnAuthorities
        configuration.iceTransportPolicy = relayOnly ? .relay : .all
        configuration.hidesHostAddresses = hideAddresses
        configuration.tcpCandidatePolicy = .enabled
        return configuration
    }

    private var password: String? {
        if let turnPassword { return turnPassword }
        guard let text = unsafe getenv("TURN_PASSWORD") else { return nil }
        return unsafe String(cString: text)
    }

    /// What was given; the user is told to TURN servers only.
    var servers: [RTCIceServer] {
        iceServer.map { url in
            let isRelay = !url.hasPrefix("stun:")
            return RTCIceServer(
                urls: [url],
                username: isRelay ? turnUser : nil,
                credential: isRelay && turnUser != nil ? password : nil
            )
        }
    }
}

extension RTCIceServer {
    /// A server that the operator of the signalling recommends.
    init(_ server: SignalingICEServer) {
        self.init(urls: server.urls, username: server.username, credential: server.credential)
    }
}

extension SignalingICEServer {
    /// A server to recommend.
    init(_ server: RTCIceServer) {
        self.init(urls: server.urls, username: server.username, credential: server.credential)
    }
}
