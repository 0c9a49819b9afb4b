/// Why an operation of the library was refused or failed.
///
/// `name` is that of the DOM exception or `RTCError` which the W3C text names for the case, so that code written
/// after that text finds what it expects; `errorDetail` is set where the W3C text sets it.
///
/// webrtc-pc §11
public struct RTCError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name of a W3C exception.
    ///
    /// An open set: compare with the constants here.
    public struct Name: RawRepresentable, Hashable, Sendable {
        /// The name as W3C spells it.
        public let rawValue: String
        /// A name by its W3C spelling.
        public init(rawValue: String) { self.rawValue = rawValue }
        /// The connection, channel or transceiver is closed or in a state that forbids the operation.
        public static let invalidStateError = Name(rawValue: "InvalidStateError")
        /// A description does not fit the present state or another part of it.
        public static let invalidAccessError = Name(rawValue: "InvalidAccessError")
        /// The operation failed for a reason of its own, told in the message.
        public static let operationError = Name(rawValue: "OperationError")
        /// An argument is of the wrong form or out of range.
        public static let typeError = Name(rawValue: "TypeError")
        /// Text could not be parsed.
        public static let syntaxError = Name(rawValue: "SyntaxError")
        /// A device, file or address was not found.
        public static let notFoundError = Name(rawValue: "NotFoundError")
        /// A device or file could not be read.
        public static let notReadableError = Name(rawValue: "NotReadableError")
        /// This user may not use the device.
        public static let notAllowedError = Name(rawValue: "NotAllowedError")
        /// No device meets a constraint, which is named in ``RTCError/constraint``.
        public static let overconstrainedError = Name(rawValue: "OverconstrainedError")
        /// The task that waited was cancelled.
        public static let abortError = Name(rawValue: "AbortError")
        /// What was asked for exists and is not implemented here.
        public static let notSupportedError = Name(rawValue: "NotSupportedError")
        /// The network failed.
        public static let networkError = Name(rawValue: "NetworkError")
    }

    /// The `RTCErrorDetailType` of the W3C text.
    public enum DetailType: String, Hashable, Sendable {
        /// The data channel failed.
        case dataChannelFailure = "data-channel-failure"
        /// DTLS failed.
        case dtlsFailure = "dtls-failure"
        /// The peer's certificate is not the one that its description announced.
        case fingerprintFailure = "fingerprint-failure"
        /// SCTP failed.
        case sctpFailure = "sctp-failure"
        /// A session description could not be parsed; the message names the line.
        case sdpSyntaxError = "sdp-syntax-error"
        /// An encoder or decoder is not to be had.
        case hardwareEncoderNotAvailable = "hardware-encoder-not-available"
        /// An encoder failed.
        case hardwareEncoderError = "hardware-encoder-error"
    }

    /// Which W3C exception this is.
    public var name: Name
    /// The kind of failure, where the W3C text has one.
    public var errorDetail: DetailType?
    /// The constraint that could not be met, as `width`; set with ``Name/overconstrainedError``.
    public var constraint: String?
    /// What happened, where, and what to do.
    public var message: String

    /// An error with its parts.
    public init(_ name: Name, _ message: String, errorDetail: DetailType? = nil) {
        self.name = name
        self.message = message
        self.errorDetail = errorDetail
    }

    /// An `OverconstrainedError` with the name of the constraint. mediacapture-main
    init(overconstrained constraint: String, _ message: String) {
        self.init(.overconstrainedError, message)
        self.constraint = constraint
    }

    /// `InvalidStateError: …`.
    public var description: String { "\(name.rawValue): \(message)" }

    static let closed = RTCError(.invalidStateError, "the connection is closed")
}
