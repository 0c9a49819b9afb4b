extension RawSpan {
    /// The big-endian 16-bit integer at `offset`, which must leave 2 bytes.
    @inlinable @inline(__always)
    public func uint16(at offset: Int) -> UInt16 {
        unsafe UInt16(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    /// The big-endian 32-bit integer at `offset`, which must leave 4 bytes.
    @inlinable @inline(__always)
    public func uint32(at offset: Int) -> UInt32 {
        unsafe UInt32(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// The big-endian 64-bit integer at `offset`, which must leave 8 bytes.
    @inlinable @inline(__always)
    public func uint64(at offset: Int) -> UInt64 {
        unsafe UInt64(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// The byte at `offset`, which must lie inside.
    @inlinable @inline(__always)
    public func uint8(at offset: Int) -> UInt8 {
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    /// A copy of all bytes.
    public func array() -> [UInt8] {
        unsafe withUnsafeBytes { unsafe Array($0) }
    }
}

/// Reads big-endian integers and runs of bytes from a borrowed span, front to back.
///
/// Every read checks the bounds; past the end it returns nil and the position stays.
public struct ByteReader: ~Escapable {
    @usableFromInline let bytes: RawSpan
    /// Bytes read so far.
    public var offset: Int

    /// Reads `bytes` from their beginning.
    @inlinable @_lifetime(copy bytes)
    public init(_ bytes: RawSpan) {
        self.bytes = bytes
        offset = 0
    }

    /// Bytes not read yet.
    @inlinable public var remainingByteCount: Int { bytes.byteCount - offset }
    /// Whether all bytes were read.
    @inlinable public var isAtEnd: Bool { offset == bytes.byteCount }

    /// The next 8 bits; nil if they are not there.
    @inlinable @_lifetime(self: copy self)
    public mutating func readUInt8() -> UInt8? {
        guard remainingByteCount >= 1 else { return nil }
        defer { offset += 1 }
        return bytes.uint8(at: offset)
    }

    /// The next 16 bits, big-endian; nil if they are not there.
    @inlinable @_lifetime(self: copy self)
    public mutating func readUInt16() -> UInt16? {
        guard remainingByteCount >= 2 else { return nil }
        defer { offset += 2 }
        return bytes.uint16(at: offset)
    }

    /// The next 24 bits, big-endian; nil if they are not there.
    @inlinable @_lifetime(self: copy self)
    public mutating func readUInt24() -> UInt32? {
        guard remainingByteCount >= 3 else { return nil }
        defer { offset += 3 }
        return UInt32(bytes.uint8(at: offset)) << 16 | UInt32(bytes.uint16(at: offset + 1))
    }

    /// The next 32 bits, big-endian; nil if they are not there.
    @inlinable @_lifetime(self: copy self)
    public mutating func readUInt32() -> UInt32? {
        guard remainingByteCount >= 4 else { return nil }
        defer { offset += 4 }
        return bytes.uint32(at: offset)
    }

    /// The next 64 bits, big-endian; nil if they are not there.
    @inlinable @_lifetime(self: copy self)
    public mutating func readUInt64() -> UInt64? {
        guard remainingByteCount >= 8 else { return nil }
        defer { offset += 8 }
        return bytes.uint64(at: offset)
    }

    /// The next `byteCount` bytes as a view, without a copy.
    @inlinable @_lifetime(copy self) @_lifetime(self: copy self)
    public mutating func readSpan(_ byteCount: Int) -> RawSpan? {
        guard byteCount >= 0, remainingByteCount >= byteCount else { return nil }
        defer { offset += byteCount }
        return bytes.extracting(offset..<(offset + byteCount))
    }

    /// The next `byteCount` bytes, copied.
    @_lifetime(self: copy self)
    public mutating func readBytes(_ byteCount: Int) -> [UInt8]? {
        readSpan(byteCount)?.array()
    }

    /// Passes over `byteCount` bytes.
    /// - Returns: false if fewer are left.
    @inlinable @_lifetime(self: copy self)
    public mutating func skip(_ byteCount: Int) -> Bool {
        guard byteCount >= 0, remainingByteCount >= byteCount else { return false }
        offset += byteCount
        return true
    }
}
