/// Datagrams on their way out, in one contiguous slab.
///
/// The machines of one engine share one queue and write their datagrams into it one behind the other, without
/// gaps. So a train of equal datagrams to one destination is already the one buffer that segmentation offload
/// (UDP GSO) wants: the driver asks for trains, not for datagrams. Confined to the engine's event loop.
@safe package final class TransmitQueue {
    /// One datagram: where in the slab it lies and where it goes.
    package struct Entry {
        package var path: TransmitPath
        package var offset: Int
        package var byteCount: Int
    }

    /// Datagrams in the order in which they were appended, those before `head` having left.
    private var entries: [Entry] = []
    private var head = 0
    /// Where datagrams go whose writer does not know paths (DTLS, SRTP): the selected pair.
    ///
    /// While it is nil such datagrams are dropped and counted.
    package var selectedPath: TransmitPath?
    /// What may happen to the datagrams appended from now on.
    package var fragmentation = Fragmentation.asUsual
    /// Datagrams dropped since there was no selected path or the queue was full.
    package private(set) var droppedCount = 0

    private var slab: UnsafeMutableRawBufferPointer
    private var used = 0

    /// Bytes beyond which the queue refuses more until it is drained.
    package static let byteLimit = 8 << 20

    /// - Parameter initialCapacity: bytes of the slab until more wait at once. A connection that only carries checks
    ///   and a handshake never needs more than the default.
    package init(initialCapacity: Int = 4 << 10) {
        unsafe slab = .allocate(byteCount: initialCapacity, alignment: 16)
    }

    deinit { unsafe slab.deallocate() }

    package var isEmpty: Bool { head == entries.count }
    /// Datagrams that wait.
    package var count: Int { entries.count - head }
    /// Bytes that wait.
    package var byteCount: Int { used }

    /// Appends a copy of `datagram`, to go along `path`, or along the selected path if that is nil.
    package func append(_ datagram: RawSpan, to path: TransmitPath? = nil) {
        _ = unsafe append(to: path, capacity: datagram.byteCount) { target in
            unsafe datagram.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
            return datagram.byteCount
        }
    }

    /// Lets `write` write one datagram of at most `capacity` bytes in place.
    ///
    /// `write`: fills the buffer and returns the datagram's length; 0 or less abandons it.
    /// - Returns: whether a datagram was appended.
    @discardableResult
    package func append(
        to path: TransmitPath? = nil,
        capacity: Int,
        _ write: (UnsafeMutableRawBufferPointer) -> Int
    ) -> Bool {
        guard var path = path ?? selectedPath, used + capacity <= Self.byteLimit else {
            droppedCount += 1
            return false
        }
        path.fragmentation = fragmentation
        reserve(capacity)
        let target = unsafe UnsafeMutableRawBufferPointer(rebasing: slab[used..<(used + capacity)])
        let written = unsafe write(target)
        guard written > 0 else { return false }
        entries.append(Entry(path: path, offset: used, byteCount: min(written, capacity)))
        used += min(written, capacity)
        return true
    }

    /// Calls `body` for each train: consecutive datagrams to one destination, all of the first one's length
    /// except a shorter last; and forgets those that `body` took.
    ///
    /// - Parameters:
    ///   - maximumCount: most datagrams in a train, 64 at most for Linux's UDP GSO; 1 switches trains off.
    ///   - maximumByteCount: most bytes in a train.
    ///   - body: gets the path, the train's bytes and the length of each datagram but the last; returns false to
    ///     keep this train and the rest for the next time.
    package func drainTrains(
        maximumCount: Int = 64,
        maximumByteCount: Int = 65_000,
        _ body: (_ path: TransmitPath, _ bytes: UnsafeRawBufferPointer, _ segmentByteCount: Int) -> Bool
    ) {
        while head < entries.count {
            let first = entries[head]
            var end = head + 1
            var byteCount = first.byteCount
            while end < entries.count, end - head < maximumCount {
                let next = entries[end]
                guard next.path == first.path, next.byteCount <= first.byteCount,
                    byteCount + next.byteCount <= maximumByteCount
                else { break }
                byteCount += next.byteCount
                end += 1
                if next.byteCount < first.byteCount { break }
            }
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: slab[first.offset..<(first.offset + byteCount)])
            guard unsafe body(first.path, bytes, first.byteCount) else { return }
            head = end
        }
        removeAll()
    }

    /// Calls `body` for each datagram, then empties the queue.
    package func drain(_ body: (_ path: TransmitPath, _ datagram: UnsafeRawBufferPointer) -> Void) {
        unsafe drainTrains(maximumCount: 1) { path, bytes, _ in
            unsafe body(path, bytes)
            return true
        }
    }

    /// Forgets all datagrams and keeps the memory.
    package func removeAll() {
        entries.removeAll(keepingCapacity: true)
        head = 0
        used = 0
    }

    private func reserve(_ byteCount: Int) {
        guard unsafe used + byteCount > slab.count else { return }
        let larger = unsafe UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(slab.count * 2, used + byteCount),
            alignment: 16
        )
        unsafe larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: slab[0..<used]))
        unsafe slab.deallocate()
        unsafe slab = larger
    }
}
