package import SansIO

/// One packet of a compound RTCP datagram.
package enum RTCPPacket: Hashable, Sendable {
    case senderReport(RTCPSenderReport)
    case receiverReport(RTCPReceiverReport)
    case sourceDescription([RTCPSourceDescription])
    case goodbye(RTCPGoodbye)
    case nack(RTCPNack)
    case pictureLossIndication(RTCPPictureLossIndication)
    case fullIntraRequest(RTCPFullIntraRequest)
    case receiverEstimatedMaximumBitRate(RTCPReceiverEstimatedMaximumBitRate)
    case transportFeedback(RTCPTransportFeedback)
    /// Well formed, and of no use to us: extended reports (RFC 3611), application packets, other feedback.
    case other(type: UInt8, format: UInt8)

    private enum Kind {
        static let senderReport: UInt8 = 200
        static let receiverReport: UInt8 = 201
        static let sourceDescription: UInt8 = 202
        static let goodbye: UInt8 = 203
        static let transportFeedback: UInt8 = 205
        static let payloadFeedback: UInt8 = 206
    }

    /// Calls `body` for each packet of a compound or reduced-size datagram.
    ///
    /// - Returns: how many packets were malformed; a broken length ends the walk.
    ///
    /// RFC 3550 §6.1, RFC 5506
    @discardableResult
    package static func parse(_ datagram: RawSpan, _ body: (RTCPPacket) -> Void) -> Int {
        var offset = 0
        var malformedCount = 0
        while offset < datagram.byteCount {
            guard datagram.byteCount - offset >= 4, datagram.uint8(at: offset) >> 6 == 2 else {
                return malformedCount + 1
            }
            let byteCount = 4 * (Int(datagram.uint16(at: offset + 2)) + 1)
            guard offset + byteCount <= datagram.byteCount else { return malformedCount + 1 }
            do {
                body(try RTCPPacket(datagram.extracting(offset..<(offset + byteCount))))
            } catch {
                malformedCount += 1
            }
            offset += byteCount
        }
        return malformedCount
    }

    /// Parses one packet that fills `packet`.
    package init(_ packet: RawSpan) throws(RTPError) {
        guard packet.byteCount >= 4 else { throw .truncated }
        let first = packet.uint8(at: 0)
        guard first >> 6 == 2 else { throw .wrongVersion }
        guard packet.byteCount == 4 * (Int(packet.uint16(at: 2)) + 1) else { throw .badLength }
        var end = packet.byteCount
        if first & 0x20 != 0 {
            let padding = Int(packet.uint8(at: end - 1))
            guard padding > 0, padding % 4 == 0, padding <= end - 4 else { throw .badPadding }
            end -= padding
        }
        let count = Int(first & 0x1F)
        let kind = packet.uint8(at: 1)
        let body = packet.extracting(4..<end)
        switch kind {
        case Kind.senderReport:
            guard body.byteCount >= 24 + count * RTCPReportBlock.byteCount else { throw .truncated }
            self = .senderReport(
                RTCPSenderReport(
                    ssrc: body.uint32(at: 0),
                    ntpTimestamp: body.uint64(at: 4),
                    rtpTimestamp: body.uint32(at: 12),
                    packetCount: body.uint32(at: 16),
                    octetCount: body.uint32(at: 20),
                    blocks: Self.blocks(body, at: 24, count: count)
                )
            )
        case Kind.receiverReport:
            guard body.byteCount >= 4 + count * RTCPReportBlock.byteCount else { throw .truncated }
            self = .receiverReport(
                RTCPReceiverReport(ssrc: body.uint32(at: 0), blocks: Self.blocks(body, at: 4, count: count))
            )
        case Kind.sourceDescription:
            self = .sourceDescription(try Self.sourceDescription(body, count: count))
        case Kind.goodbye:
            self = .goodbye(try Self.goodbye(body, count: count))
        case Kind.transportFeedback, Kind.payloadFeedback:
            self = try Self.feedback(kind: kind, format: UInt8(count), body)
        default:
            self = .other(type: kind, format: UInt8(count))
        }
    }

    private static func blocks(_ body: RawSpan, at offset: Int, count: Int) -> [RTCPReportBlock] {
        (0..<count).map { RTCPReportBlock(body, at: offset + $0 * RTCPReportBlock.byteCount) }
    }

    private static func sourceDescription(
        _ body: RawSpan,
        count: Int
    ) throws(RTPError) -> [RTCPSourceDescription] {
        var chunks: [RTCPSourceDescription] = []
        var reader = ByteReader(body)
        for _ in 0..<count {
            guard let ssrc = reader.readUInt32() else { throw .truncated }
            var items: [RTCPSourceDescription.Item] = []
            while true {
                guard let kind = reader.readUInt8() else { throw .truncated }
                if kind == 0 {  // "each list of items … MUST be terminated by one or more null octets"
                    while reader.offset % 4 != 0 { guard reader.skip(1) else { throw .truncated } }
                    break
                }
                guard let byteCount = reader.readUInt8(), let content = reader.readBytes(Int(byteCount)) else {
                    throw .truncated
                }
                items.append(.init(kind: kind, content: content))
            }
            chunks.append(RTCPSourceDescription(ssrc: ssrc, items: items))
        }
        return chunks
    }

    private static func goodbye(_ body: RawSpan, count: Int) throws(RTPError) -> RTCPGoodbye {
        var reader = ByteReader(body)
        var ssrcs: [UInt32] = []
        for _ in 0..<count {
            guard let ssrc = reader.readUInt32() else { throw .truncated }
            ssrcs.append(ssrc)
        }
        var reason: [UInt8] = []
        if let byteCount = reader.readUInt8() {
            guard let bytes = reader.readBytes(Int(byteCount)) else { throw .truncated }
            reason = bytes
        }
        return RTCPGoodbye(ssrcs: ssrcs, reason: String(decoding: reason, as: UTF8.self))
    }

    private static func feedback(kind: UInt8, format: UInt8, _ body: RawSpan) throws(RTPError) -> RTCPPacket {
        guard body.byteCount >= 8 else { throw .truncated }
        let sender = body.uint32(at: 0)
        let media = body.uint32(at: 4)
        var reader = ByteReader(body)
        _ = reader.skip(8)
        switch (kind, format) {
        case (Kind.transportFeedback, 1):
            var lost: [SequenceNumber] = []
            while let first = reader.readUInt16(), let following = reader.readUInt16() {
                lost.append(SequenceNumber(first))
                for bit in 0..<16 where following >> UInt16(bit) & 1 != 0 {
                    lost.append(SequenceNumber(first) + (bit + 1))
                }
            }
            guard !lost.isEmpty else { throw .truncated }
            return .nack(RTCPNack(senderSSRC: sender, mediaSSRC: media, lost: lost))
        case (Kind.transportFeedback, 15):
            return .transportFeedback(try RTCPTransportFeedback(senderSSRC: sender, mediaSSRC: media, &reader))
        case (Kind.payloadFeedback, 1):
            return .pictureLossIndication(RTCPPictureLossIndication(senderSSRC: sender, mediaSSRC: media))
        case (Kind.payloadFeedback, 4):
            var entries: [RTCPFullIntraRequest.Entry] = []
            while let ssrc = reader.readUInt32(), let number = reader.readUInt8(), reader.skip(3) {
                entries.append(.init(ssrc: ssrc, sequenceNumber: number))
            }
            return .fullIntraRequest(RTCPFullIntraRequest(senderSSRC: sender, entries: entries))
        case (Kind.payloadFeedback, 15):
            guard reader.readUInt32() == RTCPReceiverEstimatedMaximumBitRate.uniqueIdentifier else { break }
            guard let count = reader.readUInt8(), let high = reader.readUInt8(), let low = reader.readUInt16() else {
                throw .truncated
            }
            let mantissa = UInt64(high & 3) << 16 | UInt64(low)
            let rate = mantissa << UInt64(high >> 2)
            guard rate >> UInt64(high >> 2) == mantissa else { throw .badValue }
            var ssrcs: [UInt32] = []
            for _ in 0..<count {
                guard let ssrc = reader.readUInt32() else { throw .truncated }
                ssrcs.append(ssrc)
            }
            return .receiverEstimatedMaximumBitRate(
                RTCPReceiverEstimatedMaximumBitRate(senderSSRC: sender, bitsPerSecond: rate, ssrcs: ssrcs)
            )
        default: break
        }
        return .other(type: kind, format: format)
    }
}

extension ByteWriter {
    /// Appends one RTCP packet; nothing for `.other`.
    package mutating func write(_ packet: RTCPPacket) {
        switch packet {
        case .senderReport(let report):
            writeRTCP(kind: 200, format: report.blocks.count) { writer in
                writer.write(report.ssrc)
                writer.write(report.ntpTimestamp)
                writer.write(report.rtpTimestamp)
                writer.write(report.packetCount)
                writer.write(report.octetCount)
                for block in report.blocks.prefix(31) { block.write(into: &writer) }
            }
        case .receiverReport(let report):
            writeRTCP(kind: 201, format: report.blocks.count) { writer in
                writer.write(report.ssrc)
                for block in report.blocks.prefix(31) { block.write(into: &writer) }
            }
        case .sourceDescription(let chunks):
            writeRTCP(kind: 202, format: chunks.count) { writer in
                for chunk in chunks.prefix(31) {
                    writer.write(chunk.ssrc)
                    for item in chunk.items {
                        writer.write(item.kind)
                        writer.write(UInt8(min(item.content.count, 255)))
                        writer.write(item.content.prefix(255))
                    }
                    writer.write(UInt8(0))
                    writer.pad(to: 4)
                }
            }
        case .goodbye(let goodbye):
            writeRTCP(kind: 203, format: goodbye.ssrcs.count) { writer in
                for ssrc in goodbye.ssrcs.prefix(31) { writer.write(ssrc) }
                if !goodbye.reason.isEmpty {
                    writer.write(UInt8(min(goodbye.reason.utf8.count, 255)))
                    writer.write(goodbye.reason.utf8.prefix(255))
                }
            }
        case .nack(let nack):
            writeFeedback(kind: 205, format: 1, nack.senderSSRC, nack.mediaSSRC) { writer in
                for entry in nack.entries {
                    writer.write(entry.first)
                    writer.write(entry.following)
                }
            }
        case .pictureLossIndication(let loss):
            writeFeedback(kind: 206, format: 1, loss.senderSSRC, loss.mediaSSRC) { _ in }
        case .fullIntraRequest(let request):
            writeFeedback(kind: 206, format: 4, request.senderSSRC, 0) { writer in
                for entry in request.entries {
                    writer.write(entry.ssrc)
                    writer.write(entry.sequenceNumber)
                    writer.writeUInt24(0)
                }
            }
        case .receiverEstimatedMaximumBitRate(let estimate):
            writeFeedback(kind: 206, format: 15, estimate.senderSSRC, 0) { writer in
                writer.write(RTCPReceiverEstimatedMaximumBitRate.uniqueIdentifier)
                var mantissa = estimate.bitsPerSecond
                var exponent: UInt8 = 0
                while mantissa >= 1 << 18 {
                    mantissa >>= 1
                    exponent += 1
                }
                writer.write(UInt8(min(estimate.ssrcs.count, 255)))
                writer.writeUInt24(UInt32(exponent) << 18 | UInt32(mantissa))
                for ssrc in estimate.ssrcs.prefix(255) { writer.write(ssrc) }
            }
        case .transportFeedback(let feedback):
            writeFeedback(kind: 205, format: 15, feedback.senderSSRC, feedback.mediaSSRC) { writer in
                feedback.writeBody(into: &writer)
            }
        case .other: break
        }
    }

    private mutating func writeFeedback(
        kind: UInt8,
        format: Int,
        _ sender: UInt32,
        _ media: UInt32,
        _ body: (inout ByteWriter) -> Void
    ) {
        writeRTCP(kind: kind, format: format) { writer in
            writer.write(sender)
            writer.write(media)
            body(&writer)
        }
    }

    private mutating func writeRTCP(kind: UInt8, format: Int, _ body: (inout ByteWriter) -> Void) {
        let start = count
        write(0x80 | UInt8(min(format, 31)))
        write(kind)
        write(UInt16(0))
        body(&self)
        // RTCP datagrams are made of whole packets, so the start is a multiple of four.
        pad(to: 4)
        replace(at: start + 2, with: UInt16((count - start) / 4 - 1))
    }
}
