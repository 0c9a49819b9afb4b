import SansIO

/// Packets in a TCP stream, each behind its length in two bytes.
///
/// RFC 4571 §2, RFC 6544 §3
package struct FramedStream: Sendable {
    /// What came of a packet whose rest is still to come, with its length in front.
    private var pending: [UInt8] = []

    /// The longest packet.
    package static let longestPacket = Int(UInt16.max)
    /// What stands in front of each packet.
    package static let headerByteCount = 2

    package init() {}

    /// Takes bytes of the stream, cut anywhere.
    ///
    /// Never keeps more than one packet. Empty packets are passed over. `body` is called for each packet that is whole
    /// now, and may read it during the call only.
    package mutating func receive(_ bytes: RawSpan, _ body: (RawSpan) -> Void) {
        var offset = 0
        if !pending.isEmpty {
            while pending.count < Self.headerByteCount, offset < bytes.byteCount {
                pending.append(bytes.uint8(at: offset))
                offset += 1
            }
            guard pending.count >= Self.headerByteCount else { return }
            let end = Self.headerByteCount + (Int(pending[0]) << 8 | Int(pending[1]))
            let taken = min(end - pending.count, bytes.byteCount - offset)
            pending += bytes.extracting(offset..<(offset + taken)).array()
            offset += taken
            guard pending.count == end else { return }
            if end > Self.headerByteCount {
                // The span borrows the array for this one call.
                unsafe body(pending.span.bytes.extracting(Self.headerByteCount..<end))
            }
            pending.removeAll(keepingCapacity: true)
        }
        while bytes.byteCount - offset >= Self.headerByteCount {
            let end = offset + Self.headerByteCount + Int(bytes.uint16(at: offset))
            guard end <= bytes.byteCount else { break }
            if end > offset + Self.headerByteCount { body(bytes.extracting((offset + Self.headerByteCount)..<end)) }
            offset = end
        }
        if offset < bytes.byteCount { pending += bytes.extracting(offset..<bytes.byteCount).array() }
    }
}
