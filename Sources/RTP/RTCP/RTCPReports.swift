internal import SansIO

/// What a receiver says about one stream.
///
/// RFC 3550 §6.4.1
package struct RTCPReportBlock: Hashable, Sendable {
    package var ssrc: UInt32
    /// Packets lost since the last report, in 1/256.
    package var fractionLost: UInt8
    /// Packets lost since the beginning, from −2²³ to 2²³ − 1.
    package var cumulativeLost: Int32
    package var highestSequenceNumber: UInt32
    /// Interarrival jitter in units of the RTP timestamp.
    package var jitter: UInt32
    /// The middle 32 bits of the NTP time of the last sender report, or 0.
    package var lastSenderReport: UInt32
    /// Time since that report arrived, in 1/65536 s.
    package var delaySinceLastSenderReport: UInt32

    package static let byteCount = 24

    package init(
        ssrc: UInt32,
        fractionLost: UInt8 = 0,
        cumulativeLost: Int32 = 0,
        highestSequenceNumber: UInt32 = 0,
        jitter: UInt32 = 0,
        lastSenderReport: UInt32 = 0,
        delaySinceLastSenderReport: UInt32 = 0
    ) {
        self.ssrc = ssrc
        self.fractionLost = fractionLost
        self.cumulativeLost = cumulativeLost
        self.highestSequenceNumber = highestSequenceNumber
        self.jitter = jitter
        self.lastSenderReport = lastSenderReport
        self.delaySinceLastSenderReport = delaySinceLastSenderReport
    }

    init(_ bytes: RawSpan, at offset: Int) {
        ssrc = bytes.uint32(at: offset)
        fractionLost = bytes.uint8(at: offset + 4)
        // 24 bits, signed.
        cumulativeLost = Int32(bitPattern: bytes.uint32(at: offset + 4) << 8) >> 8
        highestSequenceNumber = bytes.uint32(at: offset + 8)
        jitter = bytes.uint32(at: offset + 12)
        lastSenderReport = bytes.uint32(at: offset + 16)
        delaySinceLastSenderReport = bytes.uint32(at: offset + 20)
    }

    func write(into writer: inout ByteWriter) {
        writer.write(ssrc)
        let lost = UInt32(bitPattern: min(max(cumulativeLost, -0x80_0000), 0x7F_FFFF)) & 0xFF_FFFF
        writer.write(UInt32(fractionLost) << 24 | lost)
        writer.write(highestSequenceNumber)
        writer.write(jitter)
        writer.write(lastSenderReport)
        writer.write(delaySinceLastSenderReport)
    }
}

/// Wall-clock time and amount of data sent, and what the sender says about the streams it receives.
///
/// RFC 3550 §6.4.1
package struct RTCPSenderReport: Hashable, Sendable {
    package var ssrc: UInt32
    /// Seconds since 1900 in 32.32 fixed point; from any clock that all of the sender's streams share.
    package var ntpTimestamp: UInt64
    package var rtpTimestamp: UInt32
    package var packetCount: UInt32
    package var octetCount: UInt32
    package var blocks: [RTCPReportBlock]

    package init(
        ssrc: UInt32,
        ntpTimestamp: UInt64,
        rtpTimestamp: UInt32,
        packetCount: UInt32,
        octetCount: UInt32,
        blocks: [RTCPReportBlock] = []
    ) {
        self.ssrc = ssrc
        self.ntpTimestamp = ntpTimestamp
        self.rtpTimestamp = rtpTimestamp
        self.packetCount = packetCount
        self.octetCount = octetCount
        self.blocks = blocks
    }
}

/// What a receiver says about the streams it receives.
///
/// RFC 3550 §6.4.2
package struct RTCPReceiverReport: Hashable, Sendable {
    package var ssrc: UInt32
    package var blocks: [RTCPReportBlock]

    package init(ssrc: UInt32, blocks: [RTCPReportBlock] = []) {
        self.ssrc = ssrc
        self.blocks = blocks
    }
}

/// The items of one source of an SDES packet.
///
/// RFC 3550 §6.5
package struct RTCPSourceDescription: Hashable, Sendable {
    package struct Item: Hashable, Sendable {
        package var kind: UInt8
        package var content: [UInt8]
    }
    package var ssrc: UInt32
    package var items: [Item]

    package init(ssrc: UInt32, cname: String) {
        self.ssrc = ssrc
        items = [Item(kind: 1, content: Array(cname.utf8.prefix(255)))]
    }

    package init(ssrc: UInt32, items: [Item]) {
        self.ssrc = ssrc
        self.items = items
    }

    /// The canonical name, if there is one.
    package var cname: String? {
        items.first { $0.kind == 1 }.map { String(decoding: $0.content, as: UTF8.self) }
    }
}

/// Sources that leave.
///
/// RFC 3550 §6.6
package struct RTCPGoodbye: Hashable, Sendable {
    package var ssrcs: [UInt32]
    package var reason: String

    package init(ssrcs: [UInt32], reason: String = "") {
        self.ssrcs = ssrcs
        self.reason = reason
    }
}

/// NTP time in 32.32 fixed point, as sender reports carry it.
package enum NTPTime {
    /// Converts nanoseconds since any origin.
    package static func timestamp(nanoseconds: Int64) -> UInt64 {
        let bits = UInt64(bitPattern: nanoseconds)
        let (seconds, rest) = bits.quotientAndRemainder(dividingBy: 1_000_000_000)
        return (seconds & 0xFFFF_FFFF) << 32 | (rest << 32) / 1_000_000_000
    }

    /// The middle 32 bits: seconds in 16.16 fixed point.
    package static func compact(_ timestamp: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: timestamp >> 16) }

    /// A duration in 16.16 fixed point, clamped.
    package static func compact(_ duration: Duration) -> UInt32 {
        let nanoseconds = max(duration.wholeNanoseconds, 0)
        let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        guard seconds < 65_536 else { return .max }
        return UInt32(seconds) << 16 | UInt32((rest << 16) / 1_000_000_000)
    }

    /// The duration that 16.16 fixed point stands for.
    package static func duration(_ compact: UInt32) -> Duration {
        .nanoseconds((Int64(compact) * 1_000_000_000) >> 16)
    }
}
