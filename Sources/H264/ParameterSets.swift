/// Makes each key frame of a stream decodable by itself: cameras may tell the parameter sets once only.
///
/// WebRTC has them in the stream alone (RFC 7742 §6.2: "WebRTC implementations MUST signal this information in-band"), and
/// a peer that comes later, or has lost them, needs them with the next key frame.
package struct ParameterSets: Sendable {
    /// A picture as it can be sent.
    package struct Picture: Sendable {
        /// In the byte stream format.
        package var bytes: [UInt8]
        /// Whether decoding can begin with it.
        package var isKeyFrame: Bool
    }

    private var sequenceSets: [[UInt8]] = []
    private var pictureSets: [[UInt8]] = []

    /// Most sets of a kind, and the most bytes of one, that are remembered: cameras have one or two of a hundred bytes.
    package static let countLimit = 8
    package static let byteLimit = 4_096

    package init() {}

    /// The picture in `bytes`, with the parameter sets in front if it is a key frame without them.
    ///
    /// - Returns: nil if `bytes` hold no picture, as when parameter sets come by themselves; they are remembered.
    package mutating func complete(_ bytes: [UInt8]) -> Picture? {
        var hasSlice = false
        var hasIDR = false
        var foundSequenceSets: [[UInt8]] = []
        var foundPictureSets: [[UInt8]] = []
        for unit in AnnexB.units(in: bytes) {
            let type = NALUnitType(header: bytes[unit.lowerBound])
            if type.isSlice { hasSlice = true }
            switch type {
            case .idr: hasIDR = true
            case .sps: Self.remember(bytes[unit], in: &foundSequenceSets)
            case .pps: Self.remember(bytes[unit], in: &foundPictureSets)
            default: break
            }
        }
        let isComplete = !foundSequenceSets.isEmpty && !foundPictureSets.isEmpty
        // A new sequence set is a new stream: what went with the old one is of no use.
        if !foundSequenceSets.isEmpty {
            sequenceSets = foundSequenceSets
            pictureSets = foundPictureSets
        } else {
            for set in foundPictureSets { Self.remember(set[...], in: &pictureSets) }
        }
        guard hasSlice else { return nil }
        guard hasIDR, !isComplete else { return Picture(bytes: bytes, isKeyFrame: hasIDR) }
        // Without any sets the picture is of no use to begin with.
        guard !sequenceSets.isEmpty, !pictureSets.isEmpty else { return Picture(bytes: bytes, isKeyFrame: false) }
        var whole: [UInt8] = []
        for set in sequenceSets + pictureSets { whole += AnnexB.startCode + set }
        return Picture(bytes: whole + bytes, isKeyFrame: true)
    }

    private static func remember(_ set: ArraySlice<UInt8>, in sets: inout [[UInt8]]) {
        let set = Array(set)
        guard set.count <= byteLimit, !sets.contains(set) else { return }
        if sets.count == countLimit { sets.removeFirst() }
        sets.append(set)
    }
}
