package import SansIO

/// Counts and jitter of one incoming source, and the report block made of them.
///
/// RFC 3550 §6.4.1, A.3, A.8
package struct ReceptionStatistics: Sendable {
    package private(set) var packetsReceived: UInt64 = 0
    /// Highest unwrapped sequence number.
    package private(set) var highest: Int64?
    private var base: Int64 = 0
    private var expectedAtReport: Int64 = 0
    private var receivedAtReport: UInt64 = 0
    /// Jitter in 1/16 ticks, as A.8 keeps it.
    private var scaledJitter: Int64 = 0
    private var lastTransit: Int64?
    private var lastTimestamp: UInt32 = 0
    private var lastSenderReport: (compact: UInt32, arrival: Instant)?
    private let clockRate: Int64

    package init(clockRate: Int) { self.clockRate = Int64(clockRate) }

    /// A packet of the media source itself arrived (retransmissions in a stream of their own do not count).
    package mutating func receive(sequence: Int64, timestamp: UInt32, at now: Instant) {
        packetsReceived += 1
        if let highest {
            self.highest = max(highest, sequence)
        } else {
            highest = sequence
            base = sequence
        }
        base = min(base, sequence)
        // Packets of one frame share a timestamp; only the first tells of the network (as browsers do it).
        guard lastTransit == nil || timestamp != lastTimestamp else { return }
        lastTimestamp = timestamp
        let arrival = now.nanoseconds / 1_000 &* clockRate / 1_000_000
        let transit = Int64(Int32(truncatingIfNeeded: arrival &- Int64(timestamp)))
        if let lastTransit {
            let difference = abs(Int64(Int32(truncatingIfNeeded: transit &- lastTransit)))
            // A jump of more than 5 s is a new time base, not jitter.
            if difference < 5 * clockRate { scaledJitter += difference - (scaledJitter + 8) >> 4 }
        }
        lastTransit = transit
    }

    /// A sender report of the source arrived.
    package mutating func receive(senderReportAt ntpTimestamp: UInt64, at now: Instant) {
        lastSenderReport = (NTPTime.compact(ntpTimestamp), now)
    }

    package var jitter: Duration {
        .nanoseconds((scaledJitter >> 4) * 1_000_000_000 / clockRate)
    }

    package var packetsExpected: Int64 { highest.map { $0 - base + 1 } ?? 0 }
    /// May be negative when packets were duplicated.
    package var packetsLost: Int64 { packetsExpected - Int64(packetsReceived) }

    /// The report block since the last call.
    package mutating func reportBlock(ssrc: UInt32, at now: Instant) -> RTCPReportBlock? {
        guard let highest else { return nil }
        let expectedInterval = packetsExpected - expectedAtReport
        let lostInterval = expectedInterval - Int64(packetsReceived - receivedAtReport)
        expectedAtReport = packetsExpected
        receivedAtReport = packetsReceived
        let fraction = expectedInterval > 0 && lostInterval > 0 ? min(lostInterval * 256 / expectedInterval, 255) : 0
        return RTCPReportBlock(
            ssrc: ssrc,
            fractionLost: UInt8(fraction),
            cumulativeLost: Int32(min(max(packetsLost, -0x80_0000), 0x7F_FFFF)),
            highestSequenceNumber: UInt32(truncatingIfNeeded: highest),
            jitter: UInt32(truncatingIfNeeded: scaledJitter >> 4),
            lastSenderReport: lastSenderReport?.compact ?? 0,
            delaySinceLastSenderReport: lastSenderReport.map { NTPTime.compact(now - $0.arrival) } ?? 0
        )
    }
}
