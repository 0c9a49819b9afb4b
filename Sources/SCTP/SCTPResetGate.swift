internal import SansIO

/// Holds stream resets back until all data before them has arrived.
///
/// A reset names the last TSN before it (RFC 6525 §4.1). usrsctp 0.9.5 puts one that comes too early aside and looks at
/// it again only when a later packet of data comes, which after a close there may never be: the channel would not
/// close. What came early waits here instead, and usrsctp sees it when its own SACKs tell that the data is there.
///
/// The same the other way: the peer may be usrsctp too, as libdatachannel is, so a reset of this side's leaves when the
/// peer has acknowledged all that was sent before it.
struct SCTPResetGate {
    /// What the receiver has acknowledged, or the TSN before the sender's first.
    private var cumulativeTSN: UInt32?
    /// Whether everything passes.
    private let isOpen: Bool
    private var held: [Held] = []

    private struct Held {
        var tsn: UInt32
        var packet: [UInt8]
    }

    /// Packets that are held; their sender sends again what is dropped.
    private static let heldLimit = 8

    /// - Parameter isOpen: whether everything passes.
    init(isOpen: Bool) { self.isOpen = isOpen }

    /// Looks at a well-formed packet of the sender's.
    ///
    /// - Returns: nil to let it pass as it is, else what is left of it without its early resets; perhaps nothing.
    mutating func take(_ packet: RawSpan) -> [UInt8]? {
        var rest: [UInt8]?
        SCTPChunks.forEach(in: packet) { type, start, end in
            switch type {
            case SCTPChunks.initiation, SCTPChunks.initiationAck:
                // Only the first says where the sender's TSNs begin.
                if cumulativeTSN == nil { cumulativeTSN = packet.uint32(at: start + 16) &- 1 }
            case SCTPChunks.reconfiguration:
                guard let tsn = Self.lastTSN(of: packet, from: start, to: end), isEarly(tsn) else { break }
                let header = packet.extracting(..<SCTPChunks.headerByteCount).array()
                hold(header + packet.extracting(start..<end).array(), until: tsn)
                if rest == nil { rest = packet.extracting(..<start).array() }
                return
            default: break
            }
            rest?.append(contentsOf: packet.extracting(start..<min((end + 3) & ~3, packet.byteCount)).array())
        }
        if let rest, rest.count <= SCTPChunks.headerByteCount { return [] }
        return rest
    }

    /// Looks at a SACK of the receiver's; they may come out of order.
    mutating func note(sack cumulativeTSN: UInt32) {
        if let known = self.cumulativeTSN, Int32(bitPattern: cumulativeTSN &- known) <= 0 { return }
        self.cumulativeTSN = cumulativeTSN
    }

    /// The next packet whose time has come.
    mutating func release() -> [UInt8]? {
        guard let index = held.firstIndex(where: { !isEarly($0.tsn) }) else { return nil }
        return held.remove(at: index).packet
    }

    private func isEarly(_ tsn: UInt32) -> Bool {
        // Serial numbers (RFC 9260 §1.6).
        guard !isOpen, let cumulativeTSN else { return false }
        return Int32(bitPattern: tsn &- cumulativeTSN) > 0
    }

    private mutating func hold(_ packet: [UInt8], until tsn: UInt32) {
        guard held.count < Self.heldLimit, !held.contains(where: { $0.packet == packet }) else { return }
        held.append(Held(tsn: tsn, packet: packet))
    }

    /// The last TSN before the reset of a RE-CONFIG, if it asks for one.
    private static func lastTSN(of packet: RawSpan, from start: Int, to end: Int) -> UInt32? {
        let outgoingResetRequest: UInt16 = 13
        var offset = start + 4
        while end - offset >= 16 {
            if packet.uint16(at: offset) == outgoingResetRequest { return packet.uint32(at: offset + 12) }
            let length = Int(packet.uint16(at: offset + 2))
            guard length >= 4 else { return nil }
            offset += (length + 3) & ~3
        }
        return nil
    }
}
