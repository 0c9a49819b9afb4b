public import Logging

/// Where and how a signalling server listens.
public struct SignalingServerConfiguration: Sendable {
    /// An address or name of this machine; "0.0.0.0" and "::" listen on all.
    public var host = "127.0.0.1"
    /// The TCP port; 0 lets the system choose.
    public var port = 0
    /// With a certificate the page comes by https, without by http.
    public var tls: SignalingTLS?
    /// The certificate of `tls`, made or read already, so that others on this machine use the same.
    package var certificate: ServerCertificate?
    /// Limits on what peers may take.
    public var limits = SignalingLimits()
    /// STUN and TURN servers that peers are told to use.
    public var iceServers: [SignalingICEServer] = []
    /// More of them for one peer each time that it joins, as with credentials that expire; called on the server's event
    /// loop, where it must not wait.
    ///
    /// - Parameters:
    ///   - peer: its name, never used again while the server runs.
    ///   - host: the name or address by which it reached this server, without a port and brackets; empty if it gave
    ///     none that could stand in a URL.
    public var iceServersForPeer: (@Sendable (_ peer: SignalingPeerID, _ host: String) -> [SignalingICEServer])?
    /// Origins of pages on other hosts that may use the WebSocket, as "https://example.net"; "*" allows all.
    ///
    /// A page that this server served may always, and so may programs that send no `Origin`.
    public var allowedOrigins: [String] = []
    /// Names by which this server may be called, besides IP addresses, "localhost" and the machine's own name.
    ///
    /// A name that is not listed is refused, so that no page elsewhere can reach a server on this machine by a name
    /// that its owner pointed here ("DNS rebinding"). "*" allows all.
    public var hostNames: [String] = []
    /// Whether `/` and `/ROOM` serve the page.
    public var servesPage = true
    /// Gets what happens; names and messages of peers only at `.debug` and below.
    public var logger: Logger

    /// The defaults: loopback, a port that the system chooses, no TLS.
    public init() {
        logger = Logger(label: "signaling")
        logger.logLevel = .warning
    }
}

/// Where the certificate of a server comes from.
public enum SignalingTLS: Hashable, Sendable {
    /// Made at the start for this machine's names and addresses; browsers ask before they trust it.
    ///
    /// With a directory it is kept there ("signaling-certificate.pem", "signaling-key.pem") and used again, so that
    /// they ask only once.
    case selfMade(directory: String?)
    /// PEM files: a certificate chain and its private key.
    case files(certificate: String, key: String)
}
