import ArgumentParser
import Signaling
import TURNService
import TerminalUI

/// `rtc-peer serve`: the signalling server and the page, without a call.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serves the call page and brings peers together; calls themselves go from peer to peer.",
        discussion:
            """
            Example: rtc-peer serve --listen 0.0.0.0:8080, then rtc-peer call --server http://HOST:8080 --room tea

            With --turn the server also relays, for those who cannot reach each other directly: one public machine is all \
            that is needed (docs/TURN.md). Example: rtc-peer serve --listen 0.0.0.0:8080 --turn
            """
    )

    @OptionGroup var server: ServerOptions
    @OptionGroup(title: "STUN and TURN") var turn: TURNOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if turn.turnTLS != nil, server.certificateSource == nil {
            throw ValidationError("--turn-tls needs --tls, or --tls-certificate and --tls-key")
        }
    }

    func run() async throws {
        output.startLogging()
        let running: RunningServer
        do { running = try await start() } catch { throw Exit.failure("\(error)", json: output.json) }
        let endpoint = running.endpoint
        let relay = running.relay
        if output.json {
            var line = JSONLine(event: "ready")
            line["url"] = .string(endpoint.url)
            line["server"] = .string(endpoint.url)
            if let fingerprint = endpoint.certificateFingerprint { line["certificate"] = .string(fingerprint) }
            if let relay { line["turn"] = .array(relay.urls.map { .string($0) }) }
            Terminal.standardOutput.write(line.text)
        } else {
            // Written at once, also into a file or pipe.
            var lines = ["Serving at \(endpoint.url)"]
            lines += endpoint.networkURLs.map { "  other machines: \($0)" }
            if let fingerprint = endpoint.certificateFingerprint {
                lines.append("  certificate SHA-256 \(fingerprint)")
            }
            lines += relay?.words ?? []
            lines.append("Ctrl-C ends it.")
            Terminal.standardOutput.write(lines.joined(separator: "\n") + "\n")
        }
        let reports = Task { [isJSON = output.json] in
            await relay?.report { report in
                if isJSON { return Terminal.standardOutput.write(report.line.text) }
                if let warning = report.warning { Terminal.standardOutput.write(warning + "\n") }
            }
        }
        for await _ in Interrupts.stream() { break }
        reports.cancel()
        // The last of them, while there is something to ask.
        await reports.value
        await running.stop()
        if output.json {
            var line = JSONLine(event: "ended")
            line["reason"] = "interrupted"
            Terminal.standardOutput.write(line.text)
        }
    }

    /// Starts everything.
    ///
    /// - Throws: the error of what cannot start; then nothing runs.
    func start() async throws -> RunningServer {
        var configuration = server.makeConfiguration()
        configuration.certificate = try configuration.tls.map { try ServerCertificate(source: $0) }
        let relay = try await turn.start(host: server.listen.host, certificate: configuration.certificate)
        if let relay {
            configuration.iceServersForPeer = { peer, host in relay.iceServers(for: peer.rawValue, host: host) }
        }
        let signaling = SignalingServer(configuration: configuration)
        do {
            return RunningServer(signaling: signaling, endpoint: try await signaling.start(), relay: relay)
        } catch {
            await relay?.service.stop()
            throw error
        }
    }
}

/// What `rtc-peer serve` runs.
struct RunningServer: Sendable {
    let signaling: SignalingServer
    let endpoint: SignalingServer.Endpoint
    let relay: RelayServer?

    func stop() async {
        await signaling.stop()
        await relay?.service.stop()
    }
}
