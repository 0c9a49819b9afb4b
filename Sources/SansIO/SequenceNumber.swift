/// A 16-bit sequence number of RTP, which wraps around (RFC 3550 §5.1).
public struct SequenceNumber: Hashable, Sendable {
    /// The number as it is on the wire.
    public var rawValue: UInt16

    /// A number from 0 to 65535.
    @inlinable
    public init(_ rawValue: UInt16) { self.rawValue = rawValue }

    /// The signed distance from `other` to this number, in -32768 to 32767.
    @inlinable
    public func distance(from other: SequenceNumber) -> Int {
        Int(Int16(truncatingIfNeeded: Int(rawValue) - Int(other.rawValue)))
    }

    /// Whether this number comes after `other`.
    @inlinable
    public func isNewer(than other: SequenceNumber) -> Bool { distance(from: other) > 0 }

    /// The number `step` steps on, around the circle.
    @inlinable
    public static func + (number: SequenceNumber, step: Int) -> SequenceNumber {
        SequenceNumber(UInt16(truncatingIfNeeded: Int(number.rawValue) + step))
    }
}

/// Turns numbers of `bitCount` bits that wrap around into ones that do not, by taking the nearest.
public struct Unwrapper: Sendable {
    @usableFromInline package private(set) var last: Int64?
    @usableFromInline let bitCount: Int64

    /// Takes numbers of `bitCount` bits, from 1 to 32.
    public init(bitCount: Int) {
        self.bitCount = Int64(bitCount)
    }

    /// The unwrapped value nearest to the last one.
    ///
    /// The first is taken as it is.
    public mutating func unwrap(_ value: UInt32) -> Int64 {
        let result = peek(value)
        last = result
        return result
    }

    /// The same without remembering it.
    public func peek(_ value: UInt32) -> Int64 {
        guard let last else { return Int64(value) }
        let modulus = Int64(1) << bitCount
        var delta = (Int64(value) - last) & (modulus - 1)
        if delta >= modulus / 2 { delta -= modulus }
        return last + delta
    }
}
