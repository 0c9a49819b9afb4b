import NIOCore
import PeerConnection
import Signaling

/// What one connection says to its other side, through the server and along a data channel of its own.
///
/// Belongs to the actor that owns the connection. docs/SIGNALING.md, "Two roads"
struct ConnectionSignaling {
    /// What happens on the channel.
    enum ChannelEvent: Sendable {
        case opened
        case said(RTCDataChannelMessage)
        case closed
    }

    static let channelLabel = "signaling"
    static let channelProtocol = "rtc-peer-signaling"

    private var roads = SignalingRoads(stream: String(UInt64.random(in: .min ... .max), radix: 16))
    private var channel: RTCDataChannel?
    private let server: @Sendable (SignalingMessage, SignalingOrder) -> Void

    /// - Parameter server: sends along the server.
    init(server: @escaping @Sendable (SignalingMessage, SignalingOrder) -> Void) { self.server = server }

    /// Whether the channel is to be made, by the side that made the first offer: the other one knows it, and there is none.
    var needsChannel: Bool { roads.isOrdered && channel == nil }

    /// Whether the other side takes repetitions for what they are.
    var isOrdered: Bool { roads.isOrdered }

    /// Whether there is something that the other side may not have got.
    var hasUnacknowledged: Bool { roads.hasUnacknowledged }

    static func isChannel(_ channel: RTCDataChannel) -> Bool { channel.protocol == channelProtocol }

    /// Says something along each road that is open.
    mutating func send(_ message: SignalingMessage) {
        roads.send(message)
        flush()
    }

    /// Takes what came through the server; `next` gives it in its turn.
    mutating func receive(_ message: SignalingMessage, _ order: SignalingOrder?) {
        roads.receive(message, order)
        flush()
    }

    /// What the other side has said, in order and once.
    mutating func next() -> SignalingMessage? { roads.nextMessage() }

    /// Says again through the server what may have been lost there.
    mutating func serverForgot() {
        roads.serverForgot()
        flush()
    }

    // MARK: The channel

    /// The channel for a connection whose first offer was made here.
    mutating func makeChannel(_ connection: RTCPeerConnection) throws -> RTCDataChannel {
        var options = RTCDataChannelInit()
        options.protocol = Self.channelProtocol
        // Its few bytes are not to wait for a file's.
        options.priority = .high
        let made = try connection.createDataChannel(Self.channelLabel, options: options)
        channel = made
        return made
    }

    /// - Returns: false, for the second of its kind that the other side opens.
    mutating func adopt(_ opened: RTCDataChannel) -> Bool {
        guard channel == nil else { return false }
        channel = opened
        return true
    }

    /// Tells what happens on the channel until it is closed.
    static func watch(_ channel: RTCDataChannel, _ tell: (ChannelEvent) async -> Void) async {
        do { try await channel.waitUntilOpen() } catch { return }
        await tell(.opened)
        for await message in channel.messages { await tell(.said(message)) }
        await tell(.closed)
    }

    /// - Throws: `SignalingError` when the channel was closed for what the other side said.
    mutating func handle(_ event: ChannelEvent) throws(SignalingError) {
        defer { flush() }
        switch event {
        case .opened: roads.channelOpened(at: .now())
        case .closed: roads.channelClosed()
        // Nobody says anything in bytes.
        case .said(.binary): break
        case .said(.text(let text)):
            do {
                try roads.receive(text: text.utf8, at: .now())
            } catch {
                roads.channelClosed()
                channel?.close()
                throw error
            }
        }
    }

    private mutating func flush() {
        while let transmit = roads.nextTransmit() {
            switch transmit.road {
            case .server: if let message = transmit.message { server(message, transmit.order) }
            // What a channel that is just closing does not take goes through the server.
            case .channel: try? channel?.send(transmit.channelText)
            }
        }
    }
}
