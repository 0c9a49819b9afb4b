internal import SansIO

/// The bytes in front of VP8 data in each RTP payload.
///
/// RFC 7741 §4.2
package struct VP8PayloadDescriptor: Hashable, Sendable {
    /// The frame may be dropped without harm to others.
    package var isNonReference = false
    /// The payload begins a VP8 partition.
    package var startsPartition = false
    package var partitionID: UInt8 = 0
    /// 7 or 15 bits.
    package var pictureID: UInt16?
    package var temporalLevelZeroIndex: UInt8?
    package var temporalID: UInt8?
    package var isLayerSync = false
    package var keyIndex: UInt8?
    /// Bytes of this descriptor.
    package private(set) var byteCount = 1

    /// Bytes of the descriptor that we send: a 15-bit picture ID and nothing else optional.
    package static let sentByteCount = 4

    package init() {}

    /// Parses the descriptor at the beginning of `payload`, which must hold at least one byte more.
    package init(_ payload: RawSpan) throws(RTPError) {
        var reader = ByteReader(payload)
        guard let first = reader.readUInt8() else { throw .truncated }
        isNonReference = first & 0x20 != 0
        startsPartition = first & 0x10 != 0
        partitionID = first & 0x07
        if first & 0x80 != 0 {
            guard let flags = reader.readUInt8() else { throw .truncated }
            if flags & 0x80 != 0 {
                guard let high = reader.readUInt8() else { throw .truncated }
                if high & 0x80 != 0 {
                    guard let low = reader.readUInt8() else { throw .truncated }
                    pictureID = UInt16(high & 0x7F) << 8 | UInt16(low)
                } else {
                    pictureID = UInt16(high)
                }
            }
            if flags & 0x40 != 0 {
                guard let index = reader.readUInt8() else { throw .truncated }
                temporalLevelZeroIndex = index
            }
            if flags & 0x30 != 0 {
                guard let layer = reader.readUInt8() else { throw .truncated }
                if flags & 0x20 != 0 {
                    temporalID = layer >> 6
                    isLayerSync = layer & 0x20 != 0
                }
                if flags & 0x10 != 0 { keyIndex = layer & 0x1F }
            }
        }
        guard reader.remainingByteCount > 0 else { throw .truncated }
        byteCount = reader.offset
    }

    /// Whether the payload begins a frame.
    package var startsFrame: Bool { startsPartition && partitionID == 0 }

    /// Whether the payload, whose descriptor this is, begins a key frame: the inverse of the P bit (RFC 6386 §9.1).
    package func startsKeyFrame(_ payload: RawSpan) -> Bool {
        startsFrame && payload.byteCount > byteCount && payload.uint8(at: byteCount) & 1 == 0
    }

    /// Writes the descriptor that we send, `sentByteCount` bytes.
    package static func write(
        into payload: UnsafeMutableRawBufferPointer,
        startsFrame: Bool,
        isNonReference: Bool,
        pictureID: UInt16
    ) {
        // The caller reserved `sentByteCount` bytes.
        unsafe payload[0] = 0x80 | (isNonReference ? 0x20 : 0) | (startsFrame ? 0x10 : 0)
        unsafe payload[1] = 0x80
        unsafe payload[2] = 0x80 | UInt8(pictureID >> 8 & 0x7F)
        unsafe payload[3] = UInt8(truncatingIfNeeded: pictureID)
    }
}
