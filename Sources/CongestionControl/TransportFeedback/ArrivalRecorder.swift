package import RTP
package import SansIO

/// Records when packets with transport-wide sequence numbers arrived, and makes feedback of it.
///
/// draft-holmer-rmcat-transport-wide-cc-extensions-01
package struct ArrivalRecorder: Sendable {
    /// Numbers from the oldest unreported to the newest that are remembered.
    package static let capacity = 2_048
    /// Packets reported in one message at most, so that it fits into a datagram: 2 bytes for each delta.
    package static let packetsPerMessage = 400

    /// How far back a late packet is reported.
    private static let longestReport: Int64 = 256

    /// Nanoseconds of arrival, or `absent`; empty until the first packet.
    private var arrivals: [Int64] = []
    private var unwrapper = Unwrapper(bitCount: 16)
    private var next: Int64?
    private var highest: Int64 = 0
    private var feedbackCount: UInt8 = 0
    private static let absent = Int64.min

    package init() {}

    /// Numbers that wait to be reported.
    package var pendingCount: Int { next.map { Int(max(highest - $0 + 1, 0)) } ?? 0 }

    /// Notes a packet.
    package mutating func receive(_ number: UInt16, at now: Instant) {
        let sequence = unwrapper.unwrap(UInt32(number))
        guard var front = next else {
            arrivals = Array(repeating: Self.absent, count: Self.capacity)
            next = sequence
            highest = sequence
            arrivals[index(sequence)] = now.nanoseconds
            return
        }
        if sequence < front {
            // Late: it is reported with those after it, which the sender knows already.
            guard highest - sequence < Self.longestReport, arrivals[index(sequence)] == Self.absent else { return }
            front = sequence
        }
        if sequence > highest {
            if sequence - highest >= Int64(Self.capacity) {
                front = sequence
                for position in arrivals.indices { arrivals[position] = Self.absent }
            } else {
                var position = highest + 1
                while position <= sequence {
                    arrivals[index(position)] = Self.absent
                    position += 1
                }
            }
            highest = sequence
            front = max(front, sequence - Int64(Self.capacity) + 1)
        }
        next = front
        if arrivals[index(sequence)] == Self.absent { arrivals[index(sequence)] = now.nanoseconds }
    }

    /// The feedback about what arrived since the last one; nil if there is nothing to say.
    package mutating func nextFeedback(senderSSRC: UInt32, mediaSSRC: UInt32) -> RTCPTransportFeedback? {
        guard var position = next else { return nil }
        var firstArrived = position
        while firstArrived <= highest, arrivals[index(firstArrived)] == Self.absent { firstArrived += 1 }
        guard firstArrived <= highest else { return nil }
        // Lost packets before the first arrival belong into the message, unless they would fill it.
        position = max(position, firstArrived - Int64(Self.packetsPerMessage) / 2)
        let first = arrivals[index(firstArrived)]
        let tick = RTCPTransportFeedback.tickNanoseconds
        let reference = first / RTCPTransportFeedback.referenceNanoseconds
        var clock = reference * RTCPTransportFeedback.referenceNanoseconds
        let base = position
        var deltas: [Int16?] = []
        deltas.reserveCapacity(min(Int(highest - base) + 1, Self.packetsPerMessage))
        while position <= highest, deltas.count < Self.packetsPerMessage {
            let arrival = arrivals[index(position)]
            if arrival == Self.absent {
                deltas.append(nil)
            } else {
                let delta = (arrival - clock) / tick
                guard let small = Int16(exactly: delta) else { break }  // the next message has a new reference
                deltas.append(small)
                clock += delta * tick
            }
            position += 1
        }
        while let last = deltas.last, last == nil { deltas.removeLast() }
        next = base + Int64(max(deltas.count, 1))
        defer { feedbackCount &+= 1 }
        return RTCPTransportFeedback(
            senderSSRC: senderSSRC,
            mediaSSRC: mediaSSRC,
            baseSequenceNumber: UInt16(truncatingIfNeeded: base),
            referenceTime: Int32(truncatingIfNeeded: (reference << 40) >> 40),
            feedbackCount: feedbackCount,
            deltas: deltas
        )
    }

    private func index(_ sequence: Int64) -> Int { Int(truncatingIfNeeded: sequence) & (Self.capacity - 1) }
}
