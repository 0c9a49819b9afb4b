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
        left.name.lowercased() == right.name.lowercased() && left.clockRate == right.clockRate
            && left.channels == right.channels
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
