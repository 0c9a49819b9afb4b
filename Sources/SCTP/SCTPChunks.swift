internal import SansIO

/// The chunks of a packet. RFC 9260 §3
enum SCTPChunks {
    static let headerByteCount = 12
    static let data: UInt8 = 0
    static let initiation: UInt8 = 1
    static let initiationAck: UInt8 = 2
    static let sack: UInt8 = 3
    static let heartbeat: UInt8 = 4
    static let heartbeatAck: UInt8 = 5
    static let cookieEcho: UInt8 = 10
    static let reconfiguration: UInt8 = 130
    static let padding: UInt8 = 132
    static let forwardTSN: UInt8 = 192

    /// Calls `body` with each chunk's type, its first byte and the end of its content, as far as the lengths are possible.
    @inline(__always)
    static func forEach(in packet: RawSpan, _ body: (_ type: UInt8, _ start: Int, _ end: Int) -> Void) {
        var offset = headerByteCount
        while packet.byteCount - offset >= 4 {
            let end = offset + Int(packet.uint16(at: offset + 2))
            guard end >= offset + 4, end <= packet.byteCount else { return }
            body(packet.uint8(at: offset), offset, end)
            offset = (end + 3) & ~3
        }
    }
}

/// What a receiver has. RFC 9260 §3.3.4
struct SCTPSACK {
    var cumulativeTSN: UInt32
    /// Bytes of room that the receiver has.
    var window: Int
    /// What it has beyond, counted from the cumulative TSN; none if they are not in order.
    private(set) var blocks: [ClosedRange<Int>] = []

    /// Bytes of the chunk without blocks and duplicates.
    static let shortestByteCount = 16

    /// Reads a chunk; its blocks only if they are wanted.
    init?(_ chunk: RawSpan, withBlocks: Bool = true) {
        guard chunk.byteCount >= Self.shortestByteCount else { return nil }
        cumulativeTSN = chunk.uint32(at: 4)
        window = Int(chunk.uint32(at: 8))
        let count = min(Int(chunk.uint16(at: 12)), (chunk.byteCount - Self.shortestByteCount) / 4)
        guard withBlocks, count > 0 else { return }
        blocks.reserveCapacity(count)
        var end = 0
        for index in 0..<count {
            let first = Int(chunk.uint16(at: Self.shortestByteCount + 4 * index))
            let last = Int(chunk.uint16(at: Self.shortestByteCount + 4 * index + 2))
            guard first > end, last >= first else {
                blocks = []
                return
            }
            blocks.append(first...last)
            end = last
        }
    }

    /// A chunk as it would be if nothing had arrived out of order; what did is room that the receiver has.
    static func withoutBlocks(_ chunk: RawSpan, arrivedByteCount: Int) -> [UInt8] {
        var bytes = chunk.extracting(..<Self.shortestByteCount).array()
        let window = UInt32(clamping: Int(chunk.uint32(at: 8)) + arrivedByteCount)
        bytes.replaceSubrange(2..<4, with: [0, UInt8(Self.shortestByteCount)])
        for (index, shift) in [24, 16, 8, 0].enumerated() {
            bytes[8 + index] = UInt8(truncatingIfNeeded: window >> shift)
        }
        bytes.replaceSubrange(12..<16, with: [0, 0, 0, 0])
        return bytes
    }
}
