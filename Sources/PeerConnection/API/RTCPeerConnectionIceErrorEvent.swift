/// A local address, a STUN or a TURN server that could not be used; the rest goes on. webrtc-pc §4.8.2
public struct RTCPeerConnectionIceErrorEvent: Error, Hashable, Sendable, CustomStringConvertible {
    /// The local IP address from which the server was asked; nil if it is not about one.
    public var address: String?
    /// The local port, or nil.
    public var port: Int?
    /// The server's URL as it was configured; empty if it is not about a server.
    public var url: String
    /// The server's STUN error code, from 300 to 699 (RFC 8489 §14.8); ``noAnswer`` if it could not be reached.
    public var errorCode: Int
    /// The reason phrase that the server sent, or words for what happened.
    public var errorText: String
    /// The exception that stands for it.
    public var error: RTCError

    /// The code of servers that give no answer, and of what is left out (webrtc-pc §4.8.2: 701).
    public static let noAnswer = 701

    /// Which W3C exception stands for it.
    public var name: RTCError.Name { error.name }
    /// What happened, where, and what to do.
    public var message: String { error.message }
    /// The message.
    public var description: String { error.message }

    init(
        _ error: RTCError,
        url: String = "",
        code: Int = noAnswer,
        text: String? = nil,
        address: String? = nil,
        port: Int? = nil
    ) {
        self.error = error
        self.url = url
        errorCode = code
        errorText = text ?? error.message
        self.address = address
        self.port = port
    }
}
