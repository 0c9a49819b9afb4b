/// What a NAL unit holds: the lower five bits of its first byte.
///
/// ITU-T H.264 table 7-1
package struct NALUnitType: RawRepresentable, Hashable, Sendable {
    package var rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue & 0x1F }

    /// Of a unit's first byte.
    package init(header: UInt8) { self.init(rawValue: header) }

    /// A slice of a picture that other pictures are needed for.
    package static let slice = NALUnitType(rawValue: 1)
    /// A slice of a picture that needs none: an instantaneous decoding refresh.
    package static let idr = NALUnitType(rawValue: 5)
    /// A sequence parameter set.
    package static let sps = NALUnitType(rawValue: 7)
    /// A picture parameter set.
    package static let pps = NALUnitType(rawValue: 8)

    /// Whether it is part of the picture itself ("VCL NAL unit").
    package var isSlice: Bool { (1...5).contains(rawValue) }
    /// Whether a stream may hold it: 0 and 24 to 31 are what packets put in its place (RFC 6184 §5.2).
    package var isOfStream: Bool { (1...23).contains(rawValue) }
}
