import SansIO

/// Cuts a stream of bytes into STUN messages and ChannelData messages.
///
/// Whole messages are handed on where they lie; only one that a cut goes through is copied, at most 65 555 bytes.
///
/// RFC 8489 §6.2.2, RFC 8656 §12.5
package struct TURNStreamReader: Sendable {
    /// The beginning of a message whose rest has not come.
    private var pending: [UInt8] = []
    /// Whether something came that is no message; nothing after it can be read.
    package private(set) var isBroken = false

    /// The first bytes of ChannelData.
    private let channelBytes: ClosedRange<UInt8>

    /// - Parameter channelNumbers: of what counts as ChannelData.
    package init(channelNumbers: ClosedRange<UInt16> = TURNFraming.channelNumbers) {
        let first = UInt8(truncatingIfNeeded: channelNumbers.lowerBound >> 8)
        channelBytes = first...max(first, UInt8(truncatingIfNeeded: channelNumbers.upperBound >> 8))
    }

    /// Bytes kept until more come.
    package var pendingByteCount: Int { pending.count }

    /// Takes the next bytes.
    ///
    /// - Parameters:
    ///   - bytes: cut anywhere.
    ///   - body: gets each message that is whole now, ChannelData with its padding.
    /// - Returns: false once the stream carried something else.
    package mutating func read(_ bytes: RawSpan, _ body: (RawSpan) -> Void) -> Bool {
        var offset = 0
        while !pending.isEmpty, !isBroken {
            // The span borrows the array for this one call.
            guard let needed = unsafe neededByteCount(pending.span.bytes) else {
                isBroken = true
                break
            }
            if needed <= pending.count {
                // The spans borrow the array for these calls.
                unsafe body(pending.span.bytes)
                pending.removeAll(keepingCapacity: true)
            } else {
                let end = min(bytes.byteCount, offset + needed - pending.count)
                guard offset < end else { return true }
                unsafe bytes.extracting(offset..<end).withUnsafeBytes { unsafe pending.append(contentsOf: $0) }
                offset = end
            }
        }
        while offset < bytes.byteCount, !isBroken {
            let rest = bytes.extracting(offset..<bytes.byteCount)
            guard let needed = neededByteCount(rest) else {
                isBroken = true
                break
            }
            guard needed <= rest.byteCount else {
                unsafe rest.withUnsafeBytes { unsafe pending.append(contentsOf: $0) }
                break
            }
            body(rest.extracting(0..<needed))
            offset += needed
        }
        if isBroken { pending = [] }
        return !isBroken
    }

    /// Length of the message that begins here, as far as the bytes tell.
    ///
    /// - Returns: more than there are if the message, or what tells its length, is not whole; nil for no message.
    private func neededByteCount(_ bytes: RawSpan) -> Int? {
        guard bytes.byteCount > 0 else { return 4 }
        switch bytes.uint8(at: 0) {
        case 0x00...0x3F:
            guard bytes.byteCount >= 8 else { return 8 }
            let length = Int(bytes.uint16(at: 2))
            guard length % 4 == 0, bytes.uint32(at: 4) == STUNMessage.magicCookie else { return nil }
            return STUNMessage.headerByteCount + length
        case channelBytes:
            guard bytes.byteCount >= 4 else { return 4 }
            return (4 + Int(bytes.uint16(at: 2)) + 3) & ~3
        default: return nil
        }
    }
}
