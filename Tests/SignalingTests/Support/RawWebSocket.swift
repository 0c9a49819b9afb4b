import JSON
import NIOSSL
import Signaling
import Testing

/// A WebSocket of the client's side over a `RawConnection`, frame by frame.
final class RawWebSocket {
    struct Frame: Equatable {
        var opcode: UInt8
        var payload: [UInt8]

        /// The status code of a close frame.
        var closeCode: UInt16? { payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : nil }
        var closeReason: String { String(decoding: payload.dropFirst(2), as: UTF8.self) }
    }

    let connection: RawConnection
    /// Whether pings of the server are answered while reading.
    var answersPings = true
    /// The close frame that came.
    private(set) var closed: Frame?

    private init(_ connection: RawConnection) { self.connection = connection }

    /// Opens one; fails the test if the server refuses.
    static func open(
        to port: Int,
        tls: NIOSSLContext? = nil,
        headers: String = "",
        host: String? = nil
    ) async throws -> RawWebSocket {
        let connection = try await RawConnection.connect(
            to: port,
            tls: tls,
            sending: upgradeRequest(port: port, headers: headers, host: host).utf8
        )
        let head = try #require(await connection.readHead())
        try #require(head.hasPrefix("HTTP/1.1 101 "), "\(head)")
        return RawWebSocket(connection)
    }

    static func upgradeRequest(port: Int, path: String = "/ws", headers: String = "", host: String? = nil) -> String {
        "GET \(path) HTTP/1.1\r\nHost: \(host ?? "127.0.0.1:\(port)")\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\(headers)\r\n"
    }

    /// Opens one and joins.
    static func join(
        _ room: String = "room",
        name: String = "Ada",
        on port: Int,
        token: String? = nil,
        ack: Int? = nil
    ) async throws -> (socket: RawWebSocket, joined: ServerMessage.Joined) {
        let socket = try await open(to: port)
        try await socket.say(.join(.init(room: room, name: name, token: token, acknowledged: ack)))
        guard case .joined(let joined)? = await socket.hear() else { throw Refused(socket.closed) }
        return (socket, joined)
    }

    struct Refused: Error {
        var frame: Frame?
        init(_ frame: Frame?) { self.frame = frame }
    }

    // MARK: Sending

    static func frame(
        _ opcode: UInt8,
        _ payload: some Collection<UInt8>,
        fin: Bool = true,
        isMasked: Bool = true,
        reserved: UInt8 = 0
    ) -> [UInt8] {
        var bytes: [UInt8] = [(fin ? 0x80 : 0) | reserved << 4 | opcode]
        let maskBit: UInt8 = isMasked ? 0x80 : 0
        switch payload.count {
        case ..<126: bytes.append(maskBit | UInt8(payload.count))
        case ..<65_536: bytes += [maskBit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default: bytes += [maskBit | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (8 * (7 - $0))) }
        }
        // A mask of zeros leaves the bytes as they are.
        if isMasked { bytes += [0, 0, 0, 0] }
        return bytes + payload
    }

    func say(_ message: ClientMessage) async throws { try await say(message.json.text) }
    func say(_ text: String) async throws { try await connection.send(Self.frame(1, text.utf8)) }

    // MARK: Reading

    /// The next frame; nil at the end.
    func readFrame() async -> Frame? {
        guard let head = await connection.read(2) else { return nil }
        var count = Int(head[1] & 0x7F)
        if count >= 126 {
            guard let long = await connection.read(count == 126 ? 2 : 8) else { return nil }
            count = long.reduce(0) { $0 << 8 | Int($1) }
        }
        guard let payload = count == 0 ? [] : await connection.read(count) else { return nil }
        return Frame(opcode: head[0] & 0x0F, payload: payload)
    }

    /// The next message of the server; nil when it closes the WebSocket or the connection ends.
    func hear() async -> ServerMessage? {
        while let frame = await readFrame() {
            switch frame.opcode {
            case 1: return try? ServerMessage(parsing: frame.payload)
            case 8:
                closed = frame
                return nil
            case 9 where answersPings: connection.trySending(Self.frame(10, frame.payload))
            default: break
            }
        }
        return nil
    }

    /// The next error; nil if something else comes.
    func hearError() async -> SignalingError? {
        if case .error(let error)? = await hear() { error } else { nil }
    }

    /// What comes until the server closes.
    func hearAll() async -> [ServerMessage] {
        var messages: [ServerMessage] = []
        while let message = await hear() { messages.append(message) }
        return messages
    }
}
