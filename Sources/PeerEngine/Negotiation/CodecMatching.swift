internal import RTP
internal import SDP

/// What two descriptions of one m-section have in common.
enum CodecMatching {
    /// Codecs of `offered` that `capabilities` has too.
    ///
    /// With the offer's payload types and order and the feedback that both know; each with its rtx. Empty if there is no
    /// media codec in common. RFC 8829 §5.3.1
    static func answer(_ offered: [SDPCodec], capabilities: [SDPCodec]) -> [SDPCodec] {
        var media: [SDPCodec] = []
        for codec in offered where !isRepair(codec) {
            guard let own = capabilities.first(where: { isSame($0, codec) }),
                !media.contains(where: { isSame($0, codec) })
            else { continue }
            var common = codec
            common.feedback = codec.feedback.filter { own.feedback.contains($0) }
            common.fmtp = own.fmtp
            if let format = H264Format(own), isH264(own), let told = H264Format(codec) {
                common.fmtp = format.answer(to: told)
            }
            media.append(common)
        }
        var result: [SDPCodec] = []
        let knowsRTX = capabilities.contains { $0.name.lowercased() == "rtx" }
        for codec in media {
            result.append(codec)
            guard knowsRTX, let rtx = offered.first(where: { apt($0) == codec.payloadType }) else { continue }
            result.append(rtx)
        }
        return result
    }

    static func isSame(_ left: SDPCodec, _ right: SDPCodec) -> Bool {
        guard left.name.lowercased() == right.name.lowercased(), left.clockRate == right.clockRate,
            left.channels == right.channels
        else { return false }
        guard isH264(left) else { return true }
        guard let left = H264Format(left), let right = H264Format(right) else { return false }
        return left.isSame(as: right)
    }

    static func isH264(_ codec: SDPCodec) -> Bool { codec.name.lowercased() == "h264" }

    /// The codecs with H.264, and what repairs it, where this side wants it.
    ///
    /// - Parameters:
    ///   - codecs: of an m-section.
    ///   - place: nowhere, behind the others or in front of them.
    ///   - h264: H.264 and its rtx, added if `codecs` have none.
    ///   - isTaken: whether a payload type stands for something else.
    /// - Returns: the codecs in the order to list them.
    static func placing(
        _ codecs: [SDPCodec],
        h264 place: H264Place,
        from h264: [SDPCodec],
        unless isTaken: (UInt8) -> Bool = { _ in false }
    ) -> [SDPCodec] {
        let known = codecs.filter(isH264)
        let types = Set(known.map(\.payloadType))
        func isOfH264(_ codec: SDPCodec) -> Bool { isH264(codec) || apt(codec).map(types.contains) ?? false }
        let others = codecs.filter { !isOfH264($0) }
        let own = known.isEmpty ? renumbered(h264, unless: isTaken) : codecs.filter(isOfH264)
        switch place {
        case .none: return others
        case .afterOthers: return others + own
        case .first: return own + others
        }
    }

    /// The codecs with other payload types in the place of those that are taken.
    static func renumbered(_ codecs: [SDPCodec], unless isTaken: (UInt8) -> Bool) -> [SDPCodec] {
        var codecs = codecs
        let own = Set(codecs.map(\.payloadType))
        // RFC 3551 §6 leaves 96 to 127 to be assigned, RFC 5761 §4 those above 95 and, since these run out, 35 to 63.
        var free = ((UInt8(35)...63).reversed() + (96...127)).filter { !isTaken($0) && !own.contains($0) }
        for index in codecs.indices where isTaken(codecs[index].payloadType) {
            guard let type = free.popLast() else { continue }
            let old = codecs[index].payloadType
            codecs[index].payloadType = type
            for other in codecs.indices where apt(codecs[other]) == old { codecs[other].fmtp = "apt=\(type)" }
        }
        return codecs
    }

    static func isRepair(_ codec: SDPCodec) -> Bool {
        ["rtx", "red", "ulpfec", "flexfec-03", "telephone-event", "cn"].contains(codec.name.lowercased())
    }

    /// The payload type that an rtx codec repairs.
    static func apt(_ codec: SDPCodec) -> UInt8? {
        guard codec.name.lowercased() == "rtx" else { return nil }
        return codec.parameters["apt"].flatMap { UInt8($0) }
    }

    /// The RTP module's form of the media codecs in `codecs`.
    static func parameters(_ codecs: [SDPCodec]) -> [RTPCodecParameters] {
        codecs.compactMap { codec in
            guard let known = RTPCodec(name: codec.name, clockRate: codec.clockRate) else { return nil }
            let feedback = codec.feedback
            return RTPCodecParameters(
                payloadType: codec.payloadType,
                codec: known,
                rtxPayloadType: codecs.first { apt($0) == codec.payloadType }?.payloadType,
                feedback: RTPFeedback(
                    nack: feedback.contains("nack"),
                    nackPLI: feedback.contains("nack pli"),
                    ccmFIR: feedback.contains("ccm fir"),
                    googREMB: feedback.contains("goog-remb"),
                    transportCC: feedback.contains("transport-cc")
                ),
                fmtp: codec.parameters,
                channels: codec.channels
            )
        }
    }

    static func extensions(_ maps: [SDPExtensionMap]) -> RTPHeaderExtensionIDs {
        func id(_ uri: String) -> UInt8? { maps.first { $0.uri == uri }?.id }
        return RTPHeaderExtensionIDs(
            mid: id(HeaderExtensionURI.mid),
            transportCC: id(HeaderExtensionURI.transportCC),
            absSendTime: id(HeaderExtensionURI.absSendTime),
            audioLevel: id(HeaderExtensionURI.audioLevel)
        )
    }
}
