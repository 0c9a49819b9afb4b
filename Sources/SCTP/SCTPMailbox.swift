internal import CCRC32C
internal import SansIO

/// What usrsctp left for one association; touched only while the stack's lock is held.
final class SCTPMailbox {
    /// Outgoing packets one behind the other, and their lengths.
    private(set) var bytes: [UInt8] = []
    private(set) var lengths: [Int] = []
    var isReadable = false
    /// For the peer's resets, and for this side's.
    var incomingGate: SCTPResetGate
    private var outgoingGate: SCTPResetGate
    var streams: SCTPStreamCounts
    /// The longest packet that is sent, if its chunks can be had apart.
    var packetLimit: Int
    var flightLimit = FlightLimit()
    /// Driven by `SCTPMailbox+Recovery.swift`.
    var recovery = LossRecovery()
    var isRecoveryForbidden = false
    /// Of all data that usrsctp sent.
    var highestTSN: UInt32?
    /// The present as the association last knew it inside the lock: another's call may send for it, on any thread.
    var now = Instant(nanoseconds: 0)
    /// Bytes of the packets with data since they were last asked for.
    private var dataByteCount = 0
    /// The common header of those packets.
    private(set) var header: [UInt8] = []
    /// Called when somebody else's call left something here.
    var wakeUp: (@Sendable () -> Void)?

    /// Bytes of packets beyond which more are dropped: the owner does not drain.
    private static let byteLimit = 16 << 20

    init(streamCount: UInt16, packetLimit: Int, holdsEarlyResets: Bool) {
        incomingGate = SCTPResetGate(isOpen: !holdsEarlyResets)
        outgoingGate = SCTPResetGate(isOpen: !holdsEarlyResets)
        streams = SCTPStreamCounts(streamCount: streamCount)
        self.packetLimit = packetLimit
    }

    /// Takes a copy of a packet, which is usrsctp's, and gives it its checksum.
    func put(_ packet: UnsafeMutableRawBufferPointer) {
        guard bytes.count + packet.count <= Self.byteLimit else { return }
        let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet))
        var isChanged = false
        var lastTSN: UInt32?
        var isHandshake = false
        SCTPChunks.forEach(in: span) { type, start, end in
            if type == SCTPChunks.cookieEcho { isHandshake = true }
            if type == SCTPChunks.data, end - start >= 8 { lastTSN = span.uint32(at: start + 4) }
            if type == SCTPChunks.sack, end - start >= 8 { incomingGate.note(sack: span.uint32(at: start + 4)) }
            if SCTPStreamCounts.concerns(type) { isChanged = true }
        }
        if let lastTSN {
            dataByteCount += packet.count
            if header.isEmpty { header = span.extracting(..<SCTPChunks.headerByteCount).array() }
            // Nothing may follow a COOKIE ECHO before it is acknowledged (RFC 9260 §5.1): its data stay with it.
            if recovery.mode != .off, !isHandshake { return record(span) }
            if isNew(lastTSN) {
                flightLimit.didSend(tsn: lastTSN, byteCount: packet.count, at: now)
                highestTSN = lastTSN
            }
        }
        if isChanged {
            putChanged(span)
        } else if packet.count > packetLimit {
            split(span)
        } else {
            unsafe append(packet)
        }
    }

    func putChanged(_ packet: RawSpan) {
        let changed = streams.outgoing(packet)
        if !changed.isEmpty { unsafe put(outgoingGate.take(changed.span.bytes) ?? changed) }
    }

    func isNew(_ tsn: UInt32) -> Bool {
        highestTSN.map { Int32(bitPattern: tsn &- $0) > 0 } ?? true
    }

    /// The peer has acknowledged what was sent up to a TSN: resets that waited for that leave.
    func note(sack cumulativeTSN: UInt32) {
        outgoingGate.note(sack: cumulativeTSN)
        while let packet = outgoingGate.release() { put(packet) }
    }

    /// Takes packets that were made here, without their checksum.
    func put(_ packet: consuming [UInt8]) {
        guard packet.count > SCTPChunks.headerByteCount else { return }
        unsafe packet.withUnsafeMutableBytes { unsafe append($0) }
    }

    /// usrsctp joins chunks as if the longest packet already were known to pass: gives each packet what it can hold.
    func split(_ packet: RawSpan) {
        let header = packet.extracting(..<SCTPChunks.headerByteCount).array()
        var part = header
        SCTPChunks.forEach(in: packet) { _, start, end in
            let chunk = packet.extracting(start..<min((end + 3) & ~3, packet.byteCount))
            if part.count > header.count, part.count + chunk.byteCount > packetLimit {
                put(part)
                part = header
            }
            part.append(contentsOf: chunk.array())
        }
        if part.count > header.count { put(part) }
    }

    /// Takes a packet that has its checksum.
    func append(sealed packet: [UInt8]) {
        guard bytes.count + packet.count <= Self.byteLimit else { return }
        bytes.append(contentsOf: packet)
        lengths.append(packet.count)
    }

    /// Gives a packet its checksum. RFC 9260 §6.8
    static func seal(_ packet: UnsafeMutableRawBufferPointer) {
        unsafe packet.storeBytes(of: 0, toByteOffset: 8, as: UInt32.self)
        let checksum = unsafe ccrc32c(0, packet.baseAddress, packet.count)
        unsafe packet.storeBytes(of: checksum.littleEndian, toByteOffset: 8, as: UInt32.self)
    }

    private func append(_ packet: UnsafeMutableRawBufferPointer) {
        unsafe Self.seal(packet)
        unsafe bytes.append(contentsOf: packet)
        lengths.append(packet.count)
    }

    /// Bytes of the packets with data since the last call.
    func takeDataByteCount() -> Int {
        defer { dataByteCount = 0 }
        return dataByteCount
    }

    /// Swaps the packets out; the given arrays' memory is used for the next ones.
    func take(_ otherBytes: inout [UInt8], _ otherLengths: inout [Int]) {
        otherBytes.removeAll(keepingCapacity: true)
        otherLengths.removeAll(keepingCapacity: true)
        swap(&bytes, &otherBytes)
        swap(&lengths, &otherLengths)
    }
}
