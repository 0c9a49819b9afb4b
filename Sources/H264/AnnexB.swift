// H.264 as bytes: where the units of a stream are, what they hold, what a picture needs to be decoded.
//
// ITU-T H.264 (ISO/IEC 14496-10) clauses 7.3.1, 7.4.1 and Annex B. Nothing is decoded here; how units travel in packets
// is the RTP module's, where they come from is Capture's.

/// The byte stream format: NAL units, each behind a start code of three or four bytes.
///
/// ITU-T H.264 Annex B
package enum AnnexB {
    /// What stands in front of a unit when a stream is written.
    package static let startCode: [UInt8] = [0, 0, 0, 1]

    /// Where the NAL units of `bytes` lie, without start codes and the zeros behind units.
    ///
    /// What comes before the first start code belongs to no unit; units without a byte are left out.
    package static func units(in bytes: [UInt8]) -> [Range<Int>] {
        var units: [Range<Int>] = []
        var start: Int?
        var index = 0
        while index + 2 < bytes.count {
            // "00 00 01" can end at `index + 2` only if that byte is 1, and begin in the next two only if it is 0.
            let third = bytes[index + 2]
            if third > 1 {
                index += 3
            } else if third == 1, bytes[index] == 0, bytes[index + 1] == 0 {
                if let start { append(start..<index, of: bytes, to: &units) }
                index += 3
                start = index
            } else {
                index += 1
            }
        }
        if let start { append(start..<bytes.count, of: bytes, to: &units) }
        return units
    }

    /// A unit ends before `trailing_zero_8bits`, since its own last byte is not 0 (§7.4.1).
    private static func append(_ range: Range<Int>, of bytes: [UInt8], to units: inout [Range<Int>]) {
        var end = range.upperBound
        while end > range.lowerBound, bytes[end - 1] == 0 { end -= 1 }
        if end > range.lowerBound { units.append(range.lowerBound..<end) }
    }
}
