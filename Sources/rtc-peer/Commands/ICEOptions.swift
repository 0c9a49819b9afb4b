import ArgumentParser
import Glibc
import ICE
import PeerConnection
import Signaling

/// Options of the servers that help two machines to reach each other.
struct ICEOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A STUN or TURN server for all who meet here, as stun:HOST, turn:HOST:PORT?transport=tcp or turns:HOST. May be repeated. Example: --ice-server turn:turn.example.org",
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

    func validate() throws {
        for url in iceServer { try Self.check(url) }
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

    /// One that is no server's address makes browsers refuse the connection, to which it would be handed out.
    private static func check(_ url: String) throws {
        let uri: ICEServerURI
        do { uri = try ICEServerURI(url) } catch { throw ValidationError("--ice-server \(url): \(error)") }
        if uri.scheme == .stuns {
            throw ValidationError(
                "--ice-server \(url): STUN over TLS tells the address of a TCP connection, and candidates are for UDP; use stun:, or turns: for a relay over TLS"
            )
        }
    }

    private var password: String? {
        if let turnPassword { return turnPassword }
        guard let text = unsafe getenv("TURN_PASSWORD") else { return nil }
        return unsafe String(cString: text)
    }

    /// An address with its scheme and what follows the question mark in small letters.
    ///
    /// Capitals mean the same there (RFC 3986 §3.1), but not to every browser.
    private static func withSmallKeywords(_ url: String) -> String {
        let scheme = url.prefix { $0 != ":" }
        let host = url.dropFirst(scheme.count).prefix { $0 != "?" }
        let query = url.dropFirst(scheme.count + host.count)
        return scheme.lowercased() + host + query.lowercased()
    }

    /// What was given; the user is told to TURN servers only.
    var servers: [RTCIceServer] {
        iceServer.map { url in
            let isRelay = (try? ICEServerURI(url))?.isRelay ?? false
            return RTCIceServer(
                urls: [Self.withSmallKeywords(url)],
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
