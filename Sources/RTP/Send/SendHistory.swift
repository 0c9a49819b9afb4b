package import SansIO

/// The packets of one stream which wait to leave or may be asked for again, by sequence number.
///
/// Owns their pool slots. Holds the last `capacity` sequence numbers at most.
@safe package struct SendHistory {
    package struct Entry: Sendable {
        package var slot: PacketSlot
        package var sequenceNumber: SequenceNumber
        package var byteCount: Int
        package var headerByteCount: Int
        package var createdAt: Instant
        /// When the packet first left; nil while it waits in the pacer.
        package var sentAt: Instant?
        package var resentAt: Instant?
        package var resendCount = 0
        /// A resend waits in the pacer.
        package var isResendQueued = false
    }

    private let pool: PacketPool
    private var entries: [Entry?]
    private var oldest: SequenceNumber?
    private var newest: SequenceNumber?

    /// An empty ring.
    ///
    /// - Parameters:
    ///   - pool: whose slots the packets lie in.
    ///   - capacity: a power of two.
    package init(pool: PacketPool, capacity: Int) {
        self.pool = pool
        entries = Array(repeating: nil, count: capacity)
    }

    package var capacity: Int { entries.count }

    package subscript(number: SequenceNumber) -> Entry? {
        get {
            guard let entry = entries[index(number)], entry.sequenceNumber == number else { return nil }
            return entry
        }
        set {
            guard entries[index(number)]?.sequenceNumber == number else { return }
            entries[index(number)] = newValue
        }
    }

    /// Takes over a packet, whose number follows the last one's, and drops the one that it displaces.
    package mutating func append(_ entry: Entry) {
        if let old = entries[index(entry.sequenceNumber)] { pool.giveBack(old.slot) }
        entries[index(entry.sequenceNumber)] = entry
        newest = entry.sequenceNumber
        if let first = oldest {
            if entry.sequenceNumber.distance(from: first) >= capacity { oldest = entry.sequenceNumber + (1 - capacity) }
        } else {
            oldest = entry.sequenceNumber
        }
    }

    /// Drops packets which left before `instant` and those which never left and were made before it.
    package mutating func removeAll(before instant: Instant) {
        guard var first = oldest, let last = newest else { return }
        while first.distance(from: last) <= 0 {
            if let entry = entries[index(first)], entry.sequenceNumber == first {
                guard (entry.sentAt ?? entry.createdAt) < instant else { break }
                pool.giveBack(entry.slot)
                entries[index(first)] = nil
            }
            first = first + 1
        }
        oldest = first.distance(from: last) <= 0 ? first : nil
    }

    /// Drops all packets.
    package mutating func removeAll() {
        for index in entries.indices {
            if let entry = entries[index] { pool.giveBack(entry.slot) }
            entries[index] = nil
        }
        oldest = nil
        newest = nil
    }

    private func index(_ number: SequenceNumber) -> Int { Int(number.rawValue) & (entries.count - 1) }
}
