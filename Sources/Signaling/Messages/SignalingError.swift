/// What went wrong in signalling: a code for programs, words for people.
public struct SignalingError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Names the kind of error; an open set, so that a newer server's codes pass through.
    public struct Code: RawRepresentable, Hashable, Sendable {
        /// As it stands in an `error` message, as "room-full".
        public var rawValue: String

        /// Wraps a code that may be unknown here.
        public init(rawValue: String) { self.rawValue = rawValue }
    }

    /// The kind of error.
    public var code: Code
    /// What happened, in a sentence for a person.
    public var message: String
    /// Whether the server closes the connection after it and trying again as before is useless.
    public var isFatal: Bool

    /// Makes an error.
    public init(_ code: Code, _ message: String, isFatal: Bool = false) {
        self.code = code
        self.message = message
        self.isFatal = isFatal
    }

    /// The words.
    public var description: String { message }
}

extension SignalingError.Code {
    // Of the server, in an `error` message.

    /// The text is not JSON.
    public static let notJSON = Self(rawValue: "not-json")
    /// JSON, but its `type` is none that the receiver knows.
    public static let unknownType = Self(rawValue: "unknown-type")
    /// A member is missing or has a wrong type.
    public static let invalidMessage = Self(rawValue: "invalid-message")
    /// A message that does not fit now, as an offer before `join`.
    public static let outOfOrder = Self(rawValue: "out-of-order")
    /// No such peer is in the room.
    public static let unknownPeer = Self(rawValue: "unknown-peer")
    /// A message above the limit.
    public static let messageTooLarge = Self(rawValue: "message-too-large")
    /// More messages or bytes a second than allowed.
    public static let rateLimited = Self(rawValue: "rate-limited")
    /// The room's name has characters that are not allowed, or too many.
    public static let invalidRoom = Self(rawValue: "invalid-room")
    /// The room holds as many peers as it may.
    public static let roomFull = Self(rawValue: "room-full")
    /// The server holds as many rooms as it may.
    public static let tooManyRooms = Self(rawValue: "too-many-rooms")
    /// The server, or this address, holds as many connections as it may.
    public static let tooManyConnections = Self(rawValue: "too-many-connections")
    /// Another connection took this place with its resume token.
    public static let replaced = Self(rawValue: "replaced")
    /// The receiver does not read what is sent to it.
    public static let tooSlow = Self(rawValue: "too-slow")
    /// Nothing was heard for too long, or no `join` came.
    public static let timedOut = Self(rawValue: "timed-out")
    /// The server is being stopped.
    public static let serverStopping = Self(rawValue: "server-stopping")

    // Local, of `SignalingServer.start` and `SignalingClient`.

    /// Another program listens on the port.
    public static let addressInUse = Self(rawValue: "address-in-use")
    /// The port is none from 0 to 65 535.
    public static let invalidPort = Self(rawValue: "invalid-port")
    /// The address is not one of this machine.
    public static let addressNotLocal = Self(rawValue: "address-not-local")
    /// The system does not let this user listen there.
    public static let permissionDenied = Self(rawValue: "permission-denied")
    /// A host name has no address.
    public static let unknownHost = Self(rawValue: "unknown-host")
    /// A certificate or key cannot be read or made, or the server's is not trusted.
    public static let certificate = Self(rawValue: "certificate")
    /// The URL is not one of a signalling server.
    public static let invalidURL = Self(rawValue: "invalid-url")
    /// The server cannot be reached.
    public static let unreachable = Self(rawValue: "unreachable")
    /// Something answers at the URL that is no signalling server.
    public static let noWebSocket = Self(rawValue: "no-websocket")
    /// Called in a state that does not allow it, as `send` after `leave`.
    public static let invalidState = Self(rawValue: "invalid-state")
    /// A queue is full.
    public static let queueFull = Self(rawValue: "queue-full")
}
