/// The pictures in a stream of H.264.
///
/// ITU-T H.264 §7.4.1.2.3
package enum AccessUnits {
    /// Where the pictures of `bytes` lie, with the parameter sets and other units in front of them, and whether decoding can
    /// begin with them.
    package static func ranges(in bytes: [UInt8]) -> [(range: Range<Int>, isKeyFrame: Bool)] {
        var found: [(range: Range<Int>, isKeyFrame: Bool)] = []
        var open = Open()
        for unit in AnnexB.units(in: bytes) {
            let type = NALUnitType(header: bytes[unit.lowerBound])
            if open.hasSlice, begins(type, unit, of: bytes) {
                if let range = open.range { found.append((range, open.isKeyFrame)) }
                open = Open()
            }
            // From the start code on; a fourth byte of it is the zero before.
            open.add(type, (unit.lowerBound - 3)..<unit.upperBound)
        }
        if open.hasSlice, let range = open.range { found.append((range, open.isKeyFrame)) }
        return found
    }

    private struct Open {
        private(set) var range: Range<Int>?
        private(set) var hasSlice = false
        private var hasIDR = false
        private var hasParameterSets = false

        var isKeyFrame: Bool { hasIDR && hasParameterSets }

        mutating func add(_ type: NALUnitType, _ unit: Range<Int>) {
            range = (range?.lowerBound ?? unit.lowerBound)..<unit.upperBound
            if type.isSlice { hasSlice = true }
            if type == .idr { hasIDR = true }
            if type == .sps { hasParameterSets = true }
        }
    }

    /// Whether a unit behind the slices of a picture is the first of the next one.
    private static func begins(_ type: NALUnitType, _ unit: Range<Int>, of bytes: [UInt8]) -> Bool {
        // Delimiters, parameter sets, messages and what is reserved come before slices only.
        if (6...9).contains(type.rawValue) || (14...18).contains(type.rawValue) { return true }
        // A slice begins with the number of its first macroblock, of which 0 is written as one bit 1 (§7.3.3, §9.1).
        guard type.isSlice, unit.count > 1 else { return false }
        return bytes[unit.lowerBound + 1] & 0x80 != 0
    }
}
