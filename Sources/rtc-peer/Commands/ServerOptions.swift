import ArgumentParser
import Logging
import Signaling

/// Options of whatever listens.
struct ServerOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where to listen; port 0 lets the system choose. 0.0.0.0 is reachable from other machines. Example: --listen 0.0.0.0:8443",
            valueName: "HOST:PORT"
        )
    )
    var listen = ListenAddress.standard

    @Flag(
        help: """
            HTTPS with a certificate made here: browsers on other machines give camera and microphone to secure pages only. \
            They warn once, since nobody has signed it. Example: --listen 0.0.0.0:8443 --tls
            """
    )
    var tls = false

    @Option(
        help: ArgumentHelp(
            "HTTPS with a certificate of an authority, so that browsers do not warn: a PEM file of the chain. Example: --tls-certificate fullchain.pem --tls-key privkey.pem",
            valueName: "FILE"
        )
    )
    var tlsCertificate: String?

    @Option(
        help: ArgumentHelp(
            "The PEM file of the private key of --tls-certificate. Example: --tls-key privkey.pem",
            valueName: "FILE"
        )
    )
    var tlsKey: String?

    @OptionGroup var ice: ICEOptions

    @Option(
        help: ArgumentHelp(
            "A name by which the server may be called, besides addresses and this machine's name. May be repeated. Example: --host-name call.example.org",
            valueName: "NAME"
        )
    )
    var hostName: [String] = []

    func validate() throws {
        guard (tlsCertificate == nil) == (tlsKey == nil) else {
            throw ValidationError("--tls-certificate and --tls-key need each other")
        }
    }

    /// Whether and with which certificate TLS is spoken.
    var certificateSource: SignalingTLS? {
        if let tlsCertificate, let tlsKey { return .files(certificate: tlsCertificate, key: tlsKey) }
        return tls ? .selfMade(directory: nil) : nil
    }

    func makeConfiguration() -> SignalingServerConfiguration {
        var configuration = SignalingServerConfiguration()
        configuration.host = listen.host
        configuration.port = listen.port
        configuration.tls = certificateSource
        configuration.iceServers = ice.servers.map { SignalingICEServer($0) }
        configuration.hostNames = hostName
        return configuration
    }
}

/// Options of what is shown.
struct OutputOptions: ParsableArguments {
    @Flag(
        help:
            "One JSON object a line on standard output, for programs; see docs/JSON-LINES.md. Example: rtc-peer call --json | jq .event"
    )
    var json = false

    @Flag(name: .shortAndLong, help: "More about what happens, on standard error. Example: rtc-peer call --verbose")
    var verbose = false

    @Option(
        help: ArgumentHelp(
            "The level of one module's log: trace, debug, info, warning or error. May be repeated. Example: --log PeerConnection.driver=debug",
            valueName: "MODULE=LEVEL"
        )
    )
    var log: [String] = []

    func validate() throws {
        for entry in log where Self.level(entry) == nil {
            throw ValidationError("--log \(entry): expected MODULE=LEVEL, as PeerConnection.driver=debug")
        }
    }

    private static func level(_ entry: String) -> (module: String, level: Logger.Level)? {
        guard let equals = entry.lastIndex(of: "="),
            let level = Logger.Level(rawValue: String(entry[entry.index(after: equals)...]))
        else { return nil }
        return (String(entry[..<equals]), level)
    }

    /// Sends all logs to standard error at the levels asked for.
    func startLogging() {
        let levels = log.compactMap(Self.level).map { ($0.module, $0.level) }
        Self.startLogging(isVerbose: verbose, levels: Dictionary(levels, uniquingKeysWith: { $1 }))
    }

    /// Sends all logs to standard error.
    static func startLogging(isVerbose: Bool, levels: [String: Logger.Level] = [:]) {
        let standard: Logger.Level = isVerbose ? .debug : .warning
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = levels[label] ?? levels.first { label.hasPrefix($0.key + ".") }?.value ?? standard
            return handler
        }
    }
}
