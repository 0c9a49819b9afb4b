internal import SDP

/// What `a=fmtp` says of H.264: two formats are the same if mode and profile are, whatever the level.
///
/// RFC 6184 §8.1, §8.2.2
struct H264Format: Hashable {
    /// The profiles of RFC 6184 table 5, and constrained high, which browsers have beside them.
    enum Profile: Hashable {
        case constrainedBaseline, baseline, main, extended, high, constrainedHigh, high10, high422, high444
        case high10Intra, high422Intra, high444Intra, cavlc444Intra
    }

    /// Values that grow with the level: twice `level_idc`, and one more than level 1's for 1b.
    struct Level: Hashable, Comparable {
        var rawValue: Int

        static func < (one: Level, other: Level) -> Bool { one.rawValue < other.rawValue }
    }

    var profile: Profile
    var level: Level
    var packetizationMode: Int
    var allowsLevelAsymmetry: Bool
    private var profileIDC: UInt8
    private var constraints: UInt8

    /// Reads the parameters of a codec; nil for a profile that is not known, or values that are none.
    init?(_ codec: SDPCodec) {
        let parameters = codec.parameters
        // "If no profile-level-id is present, the Baseline profile, without additional constraints at Level 1, MUST be
        // inferred" (§8.1); packetization-mode and level-asymmetry-allowed are 0 when absent.
        let text = parameters["profile-level-id"] ?? "42000A"
        guard text.utf8.count == 6, let number = UInt32(text, radix: 16) else { return nil }
        guard let mode = Int(parameters["packetization-mode"] ?? "0"), (0...2).contains(mode) else { return nil }
        profileIDC = UInt8(truncatingIfNeeded: number >> 16)
        constraints = UInt8(truncatingIfNeeded: number >> 8)
        guard let profile = Self.profile(profileIDC, constraints) else { return nil }
        self.profile = profile
        let levelIDC = Int(number & 0xFF)
        let is1b = levelIDC == 9 || levelIDC == 11 && constraints & 0x10 != 0 && [66, 77, 88].contains(profileIDC)
        level = Level(rawValue: is1b ? 21 : 2 * levelIDC)
        packetizationMode = mode
        allowsLevelAsymmetry = parameters["level-asymmetry-allowed"] == "1"
    }

    func isSame(as other: H264Format) -> Bool {
        profile == other.profile && packetizationMode == other.packetizationMode
    }

    /// This side's format in the answer to an offered one.
    ///
    /// §8.2.2: with asymmetry allowed by both each side tells the level that it can receive; else "the level part of
    /// the offer must be equal to or higher than that of the answer", and holds for both directions.
    func answer(to offered: H264Format) -> String {
        var format = self
        if !(allowsLevelAsymmetry && offered.allowsLevelAsymmetry), offered.level < level {
            format.level = offered.level
            // Level 1b is a bit in some profiles.
            if format.level.rawValue == 21 { format.constraints |= 0x10 }
        }
        return format.fmtp
    }

    private var fmtp: String {
        func hex(_ value: UInt8) -> String { (value < 16 ? "0" : "") + String(value, radix: 16) }
        let levelIDC = UInt8(truncatingIfNeeded: level.rawValue == 21 ? 11 : level.rawValue / 2)
        return "level-asymmetry-allowed=\(allowsLevelAsymmetry ? 1 : 0);packetization-mode=\(packetizationMode)"
            + ";profile-level-id=\(hex(profileIDC))\(hex(constraints))\(hex(levelIDC))"
    }

    /// RFC 6184 table 5.
    private static func profile(_ profileIDC: UInt8, _ constraints: UInt8) -> Profile? {
        // The lower four bits are reserved, but for two that mark constrained high.
        if profileIDC == 0x64, constraints == 0x0C { return .constrainedHigh }
        guard constraints & 0x0F == 0 else { return nil }
        func has(_ mask: UInt8, _ value: UInt8) -> Bool { constraints & mask == value }
        switch profileIDC {
        case 0x42: return has(0x40, 0x40) ? .constrainedBaseline : .baseline
        case 0x4D: return has(0x80, 0x80) ? .constrainedBaseline : has(0x20, 0) ? .main : nil
        case 0x58:
            return has(0xC0, 0xC0) ? .constrainedBaseline : has(0xC0, 0x80) ? .baseline : has(0xC0, 0) ? .extended : nil
        case 0x64: return constraints == 0 ? .high : nil
        case 0x6E: return constraints == 0 ? .high10 : constraints == 0x10 ? .high10Intra : nil
        case 0x7A: return constraints == 0 ? .high422 : constraints == 0x10 ? .high422Intra : nil
        case 0xF4: return constraints == 0 ? .high444 : constraints == 0x10 ? .high444Intra : nil
        case 0x2C: return constraints == 0x10 ? .cavlc444Intra : nil
        default: return nil
        }
    }
}
