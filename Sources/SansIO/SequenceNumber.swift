/// A 16-bit sequence number of RTP, which wraps around (RFC 3550 §5.1).
package struct SequenceNumber: Hashable, Sendable {
    package var rawValue: UInt16

    @inlinable
    package init(_ rawValue: UInt16) { self.rawValue = rawValue }

    /// The signed distance from `other` to this number, in -32768 to 32767.
    @inlinable
    package func distance(from other: SequenceNumber) -> Int {
        Int(Int16(truncatingIfNeeded: Int(rawValue) - Int(other.rawValue)))
    }

    @inlinable
    package func isNewer(than other: SequenceNumber) -> Bool { distance(from: other) > 0 }

    @inlinable
    package static func + (number: SequenceNumber, step: Int) -> SequenceNumber {
        SequenceNumber(UInt16(truncatingIfNeeded: Int(number.rawValue) + step))
    }
}

/// Turns numbers of `bitCount` bits that wrap around into ones that do not, by taking the nearest.
package struct Unwrapper: Sendable {
    @usableFromInline package private(set) var last: Int64?
    @usableFromInline let bitCount: Int64

    package init(bitCount: Int) {
        self.bitCount = Int64(bitCount)
    }

    /// The unwrapped value nearest to the last one.
    ///
    /// The first is taken as it is.
    package mutating func unwrap(_ value: UInt32) -> Int64 {
        let result = peek(value)
        last = result
        return result
    }

    /// The same without remembering it.
    package func peek(_ value: UInt32) -> Int64 {
        guard let last else { return Int64(value) }
        let modulus = Int64(1) << bitCount
        var delta = (Int64(value) - last) & (modulus - 1)
        if delta >= modulus / 2 { delta -= modulus }
        return last + delta
    }
}
