/// Why a transfer, or one file of it, did not go through.
///
/// The code is what programs compare; the message says what happened, where, and what to do.
public struct TransferError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of failure, spelled as on the wire.
    ///
    /// An open set: compare with the constants here.
    public struct Code: RawRepresentable, Hashable, Sendable {
        /// The code as it stands in messages.
        public let rawValue: String

        /// A code by its spelling.
        ///
        /// - Parameter rawValue: small letters and hyphens.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The task that ran the transfer was cancelled; it can be resumed.
        public static let cancelled = Code(rawValue: "cancelled")
        /// The channel ended before the transfer did; it can be resumed over another.
        public static let channelClosed = Code(rawValue: "channel-closed")
        /// The peer said something that the protocol does not allow.
        public static let protocolViolation = Code(rawValue: "protocol-violation")
        /// The peer speaks another version of the protocol.
        public static let unsupportedVersion = Code(rawValue: "unsupported-version")
        /// The receiver's application does not want the files.
        public static let refused = Code(rawValue: "refused")
        /// The offer is above a limit of the receiver.
        public static let limitExceeded = Code(rawValue: "limit-exceeded")
        /// A name or a link that could lead out of the target directory, or that no file can have.
        public static let unsafePath = Code(rawValue: "unsafe-path")
        /// A file of that name is there already.
        public static let exists = Code(rawValue: "exists")
        /// The file system or the quota is full; what is safely stored stays, and the transfer can be resumed.
        public static let noSpace = Code(rawValue: "no-space")
        /// The user may not read or write there.
        public static let accessDenied = Code(rawValue: "access-denied")
        /// The target is on a read-only file system.
        public static let readOnly = Code(rawValue: "read-only")
        /// The file is larger than the file system or the process's limit lets it be.
        public static let fileTooLarge = Code(rawValue: "file-too-large")
        /// The file or directory is not there.
        public static let notFound = Code(rawValue: "not-found")
        /// Neither a regular file nor a directory nor a symbolic link.
        public static let unsupportedKind = Code(rawValue: "unsupported-kind")
        /// Received bytes do not have the hash that the sender named.
        public static let hashMismatch = Code(rawValue: "hash-mismatch")
        /// The file changed while it was being sent.
        public static let changed = Code(rawValue: "changed")
        /// Another process receives the same transfer into the same directory.
        public static let busy = Code(rawValue: "busy")
        /// A stream that was partly sent cannot be read again.
        public static let notResumable = Code(rawValue: "not-resumable")
        /// The operating system refused for another reason, told in the message.
        public static let system = Code(rawValue: "system")
    }

    /// The kind of failure.
    public var code: Code
    /// What happened, where, and what to do.
    public var message: String
    /// Whether the peer reported it.
    public var isFromPeer = false
    /// Whether the receiver refuses the offer, of which it has nothing: this transfer is over on both sides.
    public var isRefusal = false

    /// An error with its parts.
    ///
    /// - Parameters:
    ///   - code: the kind of failure.
    ///   - message: what happened, where, and what to do.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// `no-space: …`.
    public var description: String { "\(code.rawValue): \(message)" }

    static func violation(_ message: String) -> TransferError { TransferError(.protocolViolation, message) }
    static let cancelledByTask = TransferError(.cancelled, "the transfer was cancelled; it can be resumed")
    static let channelEnded = TransferError(
        .channelClosed,
        "the channel closed before the transfer ended; it can be resumed over another"
    )

    /// The same, as the end of an offer that the receiver does not take.
    func asRefusal() -> TransferError {
        var error = self
        error.isRefusal = true
        return error
    }

    /// The same, once a part of a stream has gone through: it cannot be gone on with.
    func ofStream() -> TransferError {
        let words =
            switch code {
            case .cancelled: "the transfer was cancelled"
            case .channelClosed: "the connection ended before the transfer did"
            case .notResumable: ""
            default: message
            }
        guard !words.isEmpty else { return self }
        var error = self
        error.code = .notResumable
        error.message = words + "; a stream cannot be gone on with: send it anew, from its start"
        return error
    }
}
