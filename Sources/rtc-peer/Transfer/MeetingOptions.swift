import ArgumentParser
import Signaling

/// Options of those who meet by a code.
struct MeetingOptions: ParsableArguments {
    @Option(
        name: .customLong("server"),
        help: ArgumentHelp(
            "Meet on this server, as between networks; without it the one who prints the code is the server. Example: --server https://call.example.org",
            valueName: "URL"
        )
    )
    var serverURL: String?

    @Option(
        help: ArgumentHelp(
            "The SHA-256 of that server's self-made certificate, as it prints it: no other is taken. Example: --server https://192.168.1.20:8443 --server-fingerprint 5D:3F:…",
            valueName: "SHA-256"
        )
    )
    var serverFingerprint: String?

    @OptionGroup var ice: ICEOptions
    @OptionGroup var path: PathOptions

    func validate() throws {
        try Self.validate(serverURL: serverURL, fingerprint: serverFingerprint)
    }

    /// Whether another's server and the certificate expected of it go together.
    static func validate(serverURL: String?, fingerprint: String?) throws {
        if let serverURL, !SignalingClient.isServerURL(serverURL) {
            throw ValidationError("--server \(serverURL): give an address as https://call.example.org")
        }
        guard let fingerprint else { return }
        guard let serverURL, serverURL.hasPrefix("https:") || serverURL.hasPrefix("wss:") else {
            throw ValidationError("--server-fingerprint needs --server with an address that begins with https:")
        }
        guard SignalingClient.isFingerprint(fingerprint) else {
            throw ValidationError(
                "--server-fingerprint \(fingerprint): give the 64 hexadecimal digits that the server prints"
            )
        }
    }
}

/// Where whoever prints a code listens.
struct HostOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where to listen for the other machine without --server; port 0 lets the system choose. Example: --listen 192.168.1.20:0",
            valueName: "HOST:PORT"
        )
    )
    var listen = ListenAddress(host: "0.0.0.0", port: 0)
}

/// How long the two wait for each other.
struct SearchOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Give up if the other machine has not come by then, no connection has come up, or it has not come again after it was lost; one that ended without a word is missed after 30 seconds. Example: --wait 60 (default: 30 with a code, for ever where it was printed and to go on)",
            valueName: "SECONDS"
        )
    )
    var wait: Double?

    /// How long, if that was said.
    var patience: Duration? { wait.map { .seconds($0) } }

    /// How long whoever was told a code looks for the other machine.
    static let usual = Duration.seconds(30)

    func validate() throws {
        if let wait, !(wait > 0 && wait < 1e7) {
            throw ValidationError("--wait must be more than 0 seconds, and less than 10 million")
        }
    }
}
