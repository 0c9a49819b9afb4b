package import SansIO

/// Which m-section a source belongs to, and the streams of all m-sections of one BUNDLE group.
///
/// RFC 8843 §9.2
@safe package final class RTPReceiveTable {
    /// Where a packet goes.
    package enum Route {
        case media(RTPReceiveStream)
        /// A retransmission for the stream; with the payload type of the original.
        case retransmission(RTPReceiveStream, payloadType: UInt8)
        case unknown
    }

    /// Most sources at once; the one that was silent longest makes room for a new one.
    package static let streamLimit = 32
    /// Most retransmission sources that are remembered.
    package static let rtxLimit = 64

    package private(set) var sections: [RTPReceiveParameters] = []
    /// All streams, in the order in which they appeared.
    package private(set) var streams: [RTPReceiveStream] = []
    /// The extension identifiers of all m-sections: BUNDLE demands that they agree (RFC 8843 §8).
    package private(set) var extensions = RTPHeaderExtensionIDs()

    private let pool: PacketPool
    private var streamsBySSRC: [UInt32: RTPReceiveStream] = [:]
    /// Retransmission source to media source.
    private var mediaByRTX: [UInt32: UInt32] = [:]

    package init(pool: PacketPool) { self.pool = pool }

    /// Sets what the m-section receives; nil for nothing any more.
    package func set(_ parameters: RTPReceiveParameters?, mid: String) {
        sections.removeAll { $0.mid == mid }
        if let parameters { sections.append(parameters) }
        extensions = sections.reduce(RTPHeaderExtensionIDs()) { $0.merging($1.extensions) }
        for stream in streams where stream.parameters.mid == mid {
            guard let parameters, parameters.codecs.contains(where: { $0.codec.kind == stream.kind }) else {
                remove(stream)
                continue
            }
            stream.update(parameters)
        }
        // Keep what a stream or an m-section still stands for.
        let declared = Set(sections.flatMap(\.rtxSSRCs.keys))
        mediaByRTX = mediaByRTX.filter { streamsBySSRC[$0.value] != nil || declared.contains($0.value) }
        guard let parameters else { return }
        for (media, rtx) in parameters.rtxSSRCs where mediaByRTX.count < Self.rtxLimit {
            mediaByRTX[rtx] = media
            streamsBySSRC[media]?.rtxSSRC = rtx
        }
    }

    /// The stream of a media source.
    package subscript(ssrc: UInt32) -> RTPReceiveStream? { streamsBySSRC[ssrc] }

    /// Forgets a stream and gives back its slots.
    package func remove(_ stream: RTPReceiveStream) {
        streamsBySSRC[stream.ssrc] = nil
        streams.removeAll { $0 === stream }
        mediaByRTX = mediaByRTX.filter { $0.value != stream.ssrc }
        stream.close()
    }

    package func removeAll() {
        for stream in streams { stream.close() }
        streams = []
        streamsBySSRC = [:]
        mediaByRTX = [:]
    }

    /// Finds the stream of a packet; makes one for a new source that belongs to an m-section.
    package func route(
        _ header: RTPHeader,
        extensions values: RTPHeaderExtensionValues,
        packet: RawSpan,
        at now: Instant
    ) -> Route {
        if let stream = streamsBySSRC[header.ssrc], isSame(stream, values, packet) { return .media(stream) }
        if let media = mediaByRTX[header.ssrc], let stream = streamsBySSRC[media],
            let original = originalPayloadType(header.payloadType, in: stream.parameters)
        {
            return .retransmission(stream, payloadType: original)
        }
        return associate(header, values, packet, at: now)
    }

    /// The slow way, for the first packet of a source.
    private func associate(
        _ header: RTPHeader,
        _ values: RTPHeaderExtensionValues,
        _ packet: RawSpan,
        at now: Instant
    ) -> Route {
        guard let section = section(of: header, values, packet) else { return .unknown }
        if let original = originalPayloadType(header.payloadType, in: section) {
            // Only the stream that was heard last can have a retransmission source which nobody announced.
            let candidates = streams.filter { $0.parameters.mid == section.mid && $0.kind == .video }
            guard let stream = candidates.max(by: { $0.lastPacketAt < $1.lastPacketAt }) else { return .unknown }
            if candidates.count == 1 || stream.rtxSSRC == nil {
                stream.rtxSSRC = header.ssrc
                if mediaByRTX.count < Self.rtxLimit { mediaByRTX[header.ssrc] = stream.ssrc }
            }
            return .retransmission(stream, payloadType: original)
        }
        guard let codec = section.codecs.first(where: { $0.payloadType == header.payloadType }) else { return .unknown }
        if let stale = streamsBySSRC[header.ssrc] { remove(stale) }  // its MID has changed
        if streams.count >= Self.streamLimit, let oldest = streams.min(by: { $0.lastPacketAt < $1.lastPacketAt }) {
            remove(oldest)
        }
        let stream = RTPReceiveStream(
            ssrc: header.ssrc,
            kind: codec.codec.kind,
            parameters: section,
            pool: pool,
            at: now
        )
        stream.rtxSSRC = section.rtxSSRCs[header.ssrc]
        if let rtx = stream.rtxSSRC, mediaByRTX.count < Self.rtxLimit { mediaByRTX[rtx] = header.ssrc }
        streamsBySSRC[header.ssrc] = stream
        streams.append(stream)
        return .media(stream)
    }

    /// By MID, then by announced source, then by a payload type that one m-section alone uses.
    private func section(
        of header: RTPHeader,
        _ values: RTPHeaderExtensionValues,
        _ packet: RawSpan
    ) -> RTPReceiveParameters? {
        if values.midByteCount > 0 {
            let mid = packet.extracting(values.midOffset..<(values.midOffset + values.midByteCount)).array()
            // "If the packet has a MID that is not associated with any m= section, it is discarded."
            return sections.first { Array($0.mid.utf8) == mid }
        }
        if let declared = sections.first(where: {
            $0.ssrcs.contains(header.ssrc) || $0.rtxSSRCs.values.contains(header.ssrc)
        }) {
            return declared
        }
        let matching = sections.filter { section in
            section.codecs.contains { $0.payloadType == header.payloadType || $0.rtxPayloadType == header.payloadType }
        }
        return matching.count == 1 ? matching.first : nil
    }

    /// Whether a packet's MID, if any, is that of the stream.
    private func isSame(_ stream: RTPReceiveStream, _ values: RTPHeaderExtensionValues, _ packet: RawSpan) -> Bool {
        guard values.midByteCount > 0 else { return true }
        guard values.midByteCount == stream.midBytes.count else { return false }
        var index = 0
        while index < values.midByteCount {
            if packet.uint8(at: values.midOffset + index) != stream.midBytes[index] { return false }
            index += 1
        }
        return true
    }

    private func originalPayloadType(_ payloadType: UInt8, in section: RTPReceiveParameters) -> UInt8? {
        var index = 0
        while index < section.codecs.count {
            if section.codecs[index].rtxPayloadType == payloadType { return section.codecs[index].payloadType }
            index += 1
        }
        return nil
    }
}
