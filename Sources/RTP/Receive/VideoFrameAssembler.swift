package import SansIO

/// Puts packets in order and makes pictures of them.
///
/// A picture is delivered only if all before it back to a key frame were delivered. A gap is waited for, since
/// retransmissions may fill it; when the wait is over, the next key frame is the next picture delivered.
@safe package struct VideoFrameAssembler {
    private enum State {
        /// Nothing can be decoded before a key frame.
        case awaitingKeyFrame
        case decoding
    }

    /// What became of a packet.
    package enum Insertion: Hashable, Sendable {
        case inserted
        case duplicate
        case late
    }

    /// Packets from the oldest awaited to the newest: about 4 s at 2.5 Mbit/s.
    package static let capacity = 1_024
    /// Bytes of a picture, beyond any that an encoder makes.
    package static let frameByteLimit = 2 << 20

    private let codec: RTPCodec
    private let ssrc: UInt32
    private var ring: ReceivedPacketRing
    private var state = State.awaitingKeyFrame
    /// The first packet not yet delivered.
    private var next: Int64?
    /// The first packet not yet examined; those from `next` to here are there and of one picture.
    private var scan: Int64 = 0
    private var scanByteCount = 0
    private var highest: Int64 = .min
    /// Since when the packet at `scan` is missing while later ones are there.
    private var gapSince: (sequence: Int64, at: Instant)?
    private var abandonedFrames = 0
    private let pool: PacketPool

    /// Pictures given up since a part was lost or they could not be decoded.
    package private(set) var framesDropped: UInt64 = 0
    /// A key frame is needed to go on; the owner asks for one.
    package var needsKeyFrame: Bool { state == .awaitingKeyFrame && next != nil }

    package init(codec: RTPCodec, ssrc: UInt32, pool: PacketPool) {
        self.codec = codec
        self.ssrc = ssrc
        self.pool = pool
        ring = ReceivedPacketRing(pool: pool, capacity: Self.capacity)
    }

    /// Gives back all slots.
    package mutating func close() { ring.removeAll() }

    /// The first packet that is still of use.
    package var oldestNeeded: Int64? { next }

    /// When the gap at the front is given up, if there is one.
    package func gapDeadline(wait: @autoclosure () -> Duration) -> Instant? { gapSince.map { $0.at + wait() } }

    /// Takes over a packet and its slot.
    package mutating func insert(_ packet: ReceivedPacket, at now: Instant) -> Insertion {
        let sequence = packet.sequence
        // The very first packet may have been overtaken by a few.
        let front = next ?? sequence - 32
        if next == nil { reset(to: front) }
        guard sequence >= front else {
            pool.giveBack(packet.slot)
            return .late
        }
        guard !ring.contains(sequence) else {
            pool.giveBack(packet.slot)
            return .duplicate
        }
        if sequence >= front + Int64(ring.capacity) {
            // Too big a gap: what lies before is given up.
            giveUp(before: max(sequence - Int64(ring.capacity) + 1, min(highest + 1, sequence)))
            if state == .decoding { state = .awaitingKeyFrame }
        }
        ring.insert(packet)
        highest = max(highest, sequence)
        if state == .awaitingKeyFrame, packet.startsKeyFrame { begin(at: sequence) }
        return .inserted
    }

    /// The next picture, if it is complete.
    package mutating func nextFrame(at now: Instant) -> ReceivedFrame? {
        guard state == .decoding else { return nil }
        while let next {
            guard let first = ring[next] else {
                noteGap(at: next, now)
                return nil
            }
            if first.payloadByteCount == 0 {  // padding alone
                ring.remove(next)
                reset(to: next + 1)
                continue
            }
            guard first.startsFrame else {
                // All packets are there, yet the picture has no beginning.
                state = .awaitingKeyFrame
                gapSince = nil
                resumeAtKeyFrame(after: next)
                if state == .awaitingKeyFrame { return nil }
                continue
            }
            guard let end = scanFrame(timestamp: first.timestamp) else {
                if scanByteCount > Self.frameByteLimit {
                    state = .awaitingKeyFrame
                    giveUp(before: scan)
                    return nil
                }
                noteGap(at: scan, now)
                return nil
            }
            return deliver(first, from: next, to: end, at: now)
        }
        return nil
    }

    /// Gives up the gap at the front if it was waited for long enough.
    package mutating func handleTimeout(wait: @autoclosure () -> Duration, at now: Instant) {
        guard let deadline = gapDeadline(wait: wait()), deadline <= now else { return }
        gapSince = nil
        state = .awaitingKeyFrame
        resumeAtKeyFrame(after: scan)
    }

    /// Gives up all that is not yet delivered and awaits a key frame.
    package mutating func giveUpAll() {
        state = .awaitingKeyFrame
        if next != nil { giveUp(before: highest + 1) }
    }

    /// Looks for a key frame behind `sequence` and goes on there; else gives up all packets.
    private mutating func resumeAtKeyFrame(after sequence: Int64) {
        var candidate = sequence + 1
        while candidate <= highest {
            if let packet = ring[candidate], packet.startsKeyFrame {
                begin(at: candidate)
                return
            }
            candidate += 1
        }
        giveUp(before: highest + 1)
    }

    private mutating func begin(at sequence: Int64) {
        giveUp(before: sequence)
        state = .decoding
    }

    /// Drops the packets before `sequence`, which becomes the first one awaited.
    private mutating func giveUp(before sequence: Int64) {
        guard var position = next else { return }
        var lastTimestamp: UInt32?
        // Nothing is kept beyond `highest`, and that is less than the ring's capacity away.
        let end = min(sequence, highest + 1)
        while position < end {
            if let packet = ring[position] {
                if packet.payloadByteCount > 0, packet.timestamp != lastTimestamp {
                    framesDropped += 1
                    abandonedFrames += 1
                    lastTimestamp = packet.timestamp
                }
                ring.remove(position)
            }
            position += 1
        }
        reset(to: max(sequence, next ?? sequence))
    }

    private mutating func reset(to sequence: Int64) {
        next = sequence
        scan = sequence
        scanByteCount = 0
        gapSince = nil
    }

    private mutating func noteGap(at sequence: Int64, _ now: Instant) {
        guard highest > sequence else {
            gapSince = nil
            return
        }
        if gapSince?.sequence != sequence { gapSince = (sequence, now) }
    }

    /// Moves `scan` on; returns the end of the picture once all of it was seen.
    private mutating func scanFrame(timestamp: UInt32) -> Int64? {
        while let packet = ring[scan] {
            // A picture without a marked end ends before the next one's first packet.
            if packet.payloadByteCount > 0, packet.timestamp != timestamp { return scan }
            scan += 1
            scanByteCount += packet.payloadByteCount
            if packet.marker { return scan }
            if scanByteCount > Self.frameByteLimit { return nil }
        }
        return nil
    }

    private mutating func deliver(
        _ first: ReceivedPacket,
        from start: Int64,
        to end: Int64,
        at now: Instant
    ) -> ReceivedFrame {
        let codec = first.codec ?? codec
        let (payload, isKeyFrame) =
            codec == .h264 ? joinH264(from: start, to: end) : (join(from: start, to: end), first.startsKeyFrame)
        var sequence = start
        while sequence < end {
            ring.remove(sequence)
            sequence += 1
        }
        reset(to: end)
        let lost = abandonedFrames
        abandonedFrames = 0
        return ReceivedFrame(
            payload: payload,
            rtpTimestamp: first.timestamp,
            payloadType: first.payloadType,
            codec: codec,
            isKeyFrame: isKeyFrame,
            lostBefore: lost,
            ssrc: ssrc,
            receiveTime: now,
            pictureID: first.pictureID,
            firstPacketTime: first.receivedAt
        )
    }

    /// The payloads one after another.
    private func join(from start: Int64, to end: Int64) -> [UInt8] {
        let byteCount = scanByteCount
        return unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { target, count in
            var sequence = start
            while sequence < end {
                defer { sequence += 1 }
                guard let packet = ring[sequence], packet.payloadByteCount > 0 else { continue }
                let source = unsafe ring.payload(of: packet)
                // The parts sum up to `byteCount`: `scanFrame` added them.
                guard count + source.count <= byteCount else { break }
                unsafe UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(target)[count...])
                    .copyMemory(from: source)
                count += source.count
            }
        }
    }

    /// The units in the payloads, in the byte stream format.
    private func joinH264(from start: Int64, to end: Int64) -> ([UInt8], isKeyFrame: Bool) {
        var writer = H264PictureWriter(byteCount: scanByteCount)
        var sequence = start
        while sequence < end {
            if let packet = ring[sequence], packet.payloadByteCount > 0 {
                unsafe writer.append(ring.payload(of: packet))
            }
            sequence += 1
        }
        return (writer.bytes, writer.isKeyFrame)
    }
}
