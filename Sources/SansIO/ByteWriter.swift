/// Builds a message of big-endian integers and bytes in a growing array.
///
/// For control messages, not per packet.
package struct ByteWriter: Sendable {
    package private(set) var bytes: [UInt8]

    @inlinable
    package init(reserving byteCount: Int = 128) {
        self.init(empty: byteCount)
    }

    @usableFromInline
    init(empty byteCount: Int) {
        bytes = []
        bytes.reserveCapacity(byteCount)
    }

    package var count: Int { bytes.count }

    package mutating func write(_ value: UInt8) { bytes.append(value) }

    package mutating func write(_ value: UInt16) {
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    package mutating func writeUInt24(_ value: UInt32) {
        bytes.append(UInt8(truncatingIfNeeded: value >> 16))
        write(UInt16(truncatingIfNeeded: value))
    }

    package mutating func write(_ value: UInt32) {
        write(UInt16(truncatingIfNeeded: value >> 16))
        write(UInt16(truncatingIfNeeded: value))
    }

    package mutating func write(_ value: UInt64) {
        write(UInt32(truncatingIfNeeded: value >> 32))
        write(UInt32(truncatingIfNeeded: value))
    }

    package mutating func write(_ content: some Sequence<UInt8>) { bytes.append(contentsOf: content) }

    package mutating func write(_ content: RawSpan) {
        unsafe content.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }

    /// Appends zeros until the length is a multiple of `alignment`.
    package mutating func pad(to alignment: Int) {
        while bytes.count % alignment != 0 { bytes.append(0) }
    }

    /// Replaces two bytes written before.
    package mutating func replace(at offset: Int, with value: UInt16) {
        bytes[offset] = UInt8(truncatingIfNeeded: value >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: value)
    }
}
