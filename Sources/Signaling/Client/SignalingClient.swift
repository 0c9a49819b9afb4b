import NIOCore
import NIOPosix

/// Joins a room of a signalling server, and keeps its place there through broken connections.
///
/// Connects at once and again with back-off (0.3 s doubling to 10 s, with jitter). What is sent meanwhile waits, up to
/// a limit. Usable from any thread; runs on one event loop.
public final class SignalingClient: Sendable {
    /// What happens; for one reader.
    ///
    /// Ends after `closed`.
    public let events: AsyncStream<SignalingEvent>
    private let eventLoop: any EventLoop
    private let core: NIOLoopBoundBox<ClientCore?>

    /// Joins `room` of the server at `url`.
    ///
    /// - Parameters:
    ///   - url: as `http://host:8080`, or https, ws, wss; a path is ignored.
    ///   - room: 1 to 64 letters, digits, `-`, `_`, `.`.
    ///   - name: what others are told.
    ///   - certificate: a PEM file of the certificate to trust besides the system's; for self-made ones.
    ///   - certificateFingerprint: SHA-256 of the server's certificate, as `rtc-peer serve --tls` prints it: that one is
    ///     taken, whatever it says of itself, and no other.
    ///   - allowsAnyCertificate: trusts every certificate; for tests in a network that is trusted.
    ///   - waitsForPlace: tries again, with the same back-off, while the room is full, which is the event `error` then;
    ///     else it ends with that.
    /// - Throws: `SignalingError` for a URL or certificate that cannot be used.
    public init(
        url: String,
        room: String,
        name: String,
        certificate: String? = nil,
        certificateFingerprint: String? = nil,
        allowsAnyCertificate: Bool = false,
        waitsForPlace: Bool = false
    ) throws {
        let server = try ServerURL(url)
        if certificateFingerprint != nil, !server.isSecure {
            throw SignalingError(
                .certificate,
                "A certificate is expected, but “\(Wire.excerpt(url))” is not encrypted; use https.",
                isFatal: true
            )
        }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        eventLoop = loop
        let (events, feed) = AsyncStream<SignalingEvent>.makeStream()
        self.events = events
        let trust =
            try server.isSecure
            ? ServerTrust(
                certificate: certificate,
                fingerprint: certificateFingerprint,
                allowsAnyCertificate: allowsAnyCertificate
            ) : nil
        let core = NIOLoopBoundBox<ClientCore?>.makeEmptyBox(valueType: ClientCore.self, eventLoop: loop)
        self.core = core
        loop.execute {
            let made = ClientCore(
                server: server,
                room: room,
                name: name,
                trust: trust,
                waitsForPlace: waitsForPlace,
                eventLoop: loop,
                feed: feed
            )
            core.value = made
            made.connect()
        }
    }

    /// Whether a text can be the address of a server.
    public static func isServerURL(_ text: String) -> Bool { (try? ServerURL(text)) != nil }

    /// Whether a text can be a certificate's fingerprint: 64 hexadecimal digits, with colons between them or not.
    public static func isFingerprint(_ text: String) -> Bool { CertificateFingerprint(text) != nil }

    /// Sends a message to one peer; it waits while the connection is broken.
    ///
    /// `order` is for a peer to which the message may come along another road, too.
    public func send(_ message: SignalingMessage, to peer: SignalingPeerID, order: SignalingOrder? = nil) {
        let core = core
        eventLoop.execute { core.value?.send(message, to: peer, order: order) }
    }

    /// Asks the server for a sign of life; without one for two seconds, the connection is made anew.
    ///
    /// For when there are signs that the network has changed: else that takes up to three heartbeats.
    public func check() {
        let core = core
        eventLoop.execute { core.value?.check() }
    }

    /// Says farewell and closes; `closed(nil)` follows.
    public func leave() async {
        let core = core
        let loop = eventLoop
        try? await loop.flatSubmit { core.value?.leave() ?? loop.makeSucceededVoidFuture() }.get()
    }
}
