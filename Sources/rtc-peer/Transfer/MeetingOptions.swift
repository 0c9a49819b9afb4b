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

    @Option(
        help: ArgumentHelp(
            "A STUN server. May be repeated. Example: --ice-server stun:stun.example.org:3478",
            valueName: "URL"
        )
    )
    var iceServer: [String] = []

    func validate() throws {
        for url in iceServer where !["stun:", "turn:", "turns:"].contains(where: { url.hasPrefix($0) }) {
            throw ValidationError("--ice-server \(url): begin it with stun:, as stun:stun.example.org:3478")
        }
        guard let fingerprint = serverFingerprint else { return }
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
