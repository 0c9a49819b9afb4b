import PeerConnection

/// What both sides of a forwarded TCP connection count, and what their texts mean: docs/CODES.md, "Forwarded ports".
///
/// It knows neither the channel nor the socket. Each direction may have ``windowByteCount`` under way: bytes that were
/// sent and that the other side has not yet passed on to its socket. So who does not read stops only its own sender,
/// and a side never holds more than that for a connection.
struct ForwardFlow: Sendable {
    /// Bytes of one direction that may be under way.
    static let windowByteCount = 1 << 20
    /// Bytes passed on after which the other side is told.
    static let creditStepByteCount = 128 << 10

    /// What a message asks for.
    enum Received: Hashable, Sendable {
        /// Bytes to pass on.
        case bytes([UInt8])
        /// The other direction has ended.
        case end
        /// More may be sent.
        case credit
        /// The other side does not connect, for this reason.
        case refused(String)
    }

    /// What the other side must not say; it breaks the connection.
    enum Violation: Error, Hashable, Sendable {
        /// More bytes than the window holds.
        case tooMuch
        /// Bytes or another end after the end.
        case afterTheEnd
        /// A credit for fewer bytes than the one before, for more than were sent, or that is no number.
        case credit
        /// A text that means nothing.
        case text
    }

    private var sentByteCount = 0
    private var creditedByteCount = 0
    private var receivedByteCount = 0
    private var passedOnByteCount = 0
    private var toldByteCount = 0
    /// Whether the other side has ended its direction.
    private(set) var isEnded = false

    /// Bytes that may be sent now.
    var room: Int { Self.windowByteCount - (sentByteCount - creditedByteCount) }

    /// Bytes were sent, at most ``room``.
    mutating func didSend(_ byteCount: Int) { sentByteCount += byteCount }

    /// Takes a message of the other side's.
    ///
    /// - Throws: what is wrong with it; nothing has changed then.
    mutating func receive(_ message: RTCDataChannelMessage) throws(Violation) -> Received {
        switch message {
        case .binary(let bytes):
            if isEnded { throw .afterTheEnd }
            guard receivedByteCount - passedOnByteCount + bytes.count <= Self.windowByteCount else { throw .tooMuch }
            receivedByteCount += bytes.count
            return .bytes(bytes)
        case .text("end"):
            if isEnded { throw .afterTheEnd }
            isEnded = true
            return .end
        case .text(let text):
            if let number = text.suffix(after: "credit ") {
                guard number.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                    let byteCount = Int(number), (creditedByteCount...sentByteCount).contains(byteCount)
                else { throw .credit }
                creditedByteCount = byteCount
                return .credit
            }
            if let words = text.suffix(after: "refused ") { return .refused(String(words.prefix(Self.wordsLimit))) }
            throw .text
        }
    }

    /// Received bytes went to the socket.
    ///
    /// - Returns: what the other side is to be told, if it is.
    mutating func didPassOn(_ byteCount: Int) -> String? {
        passedOnByteCount += byteCount
        guard passedOnByteCount - toldByteCount >= Self.creditStepByteCount else { return nil }
        toldByteCount = passedOnByteCount
        return "credit \(passedOnByteCount)"
    }

    /// Characters of a refusal that are shown.
    private static let wordsLimit = 300
}

extension String {
    /// What follows `prefix`; nil if it does not begin so.
    fileprivate func suffix(after prefix: String) -> Substring? {
        hasPrefix(prefix) ? dropFirst(prefix.count) : nil
    }
}
