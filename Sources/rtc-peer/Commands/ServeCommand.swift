import ArgumentParser
import Signaling
import TerminalUI

/// `rtc-peer serve`: the signalling server and the page, without a call.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serves the call page and brings peers together; calls themselves go from peer to peer.",
        discussion:
            "Example: rtc-peer serve --listen 0.0.0.0:8080, then rtc-peer call --server http://HOST:8080 --room tea"
    )

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        output.startLogging()
        let server = SignalingServer(configuration: server.makeConfiguration())
        let endpoint: SignalingServer.Endpoint
        do {
            endpoint = try await server.start()
        } catch {
            throw Exit.failure("\(error)", json: output.json)
        }
        if output.json {
            var line = JSONLine(event: "ready")
            line["url"] = .string(endpoint.url)
            line["server"] = .string(endpoint.url)
            if let fingerprint = endpoint.certificateFingerprint { line["certificate"] = .string(fingerprint) }
            Terminal.standardOutput.write(line.text)
        } else {
            // Written at once, also into a file or pipe.
            var lines = ["Serving at \(endpoint.url)"]
            lines += endpoint.networkURLs.map { "  other machines: \($0)" }
            if let fingerprint = endpoint.certificateFingerprint {
                lines.append("  certificate SHA-256 \(fingerprint)")
            }
            lines.append("Ctrl-C ends it.")
            Terminal.standardOutput.write(lines.joined(separator: "\n") + "\n")
        }
        for await _ in Interrupts.stream() { break }
        await server.stop()
        if output.json {
            var line = JSONLine(event: "ended")
            line["reason"] = "interrupted"
            Terminal.standardOutput.write(line.text)
        }
    }
}
