/// Names a slot of a `PacketPool`; whoever took it gives it back exactly once.
package struct PacketSlot: Hashable, Sendable {
    @usableFromInline let index: Int32
}

/// Fixed slots for packets that must be kept: the resend cache of senders and the reorder buffers of receivers.
///
/// Slots lie in slabs which are made on demand and kept, so steady use does not allocate. Confined to the
/// engine's event loop.
@safe package final class PacketPool {
    /// Room in a slot: an Ethernet datagram and the SRTP trailer that libsrtp may write.
    package static let slotByteCount = 2_048
    /// Most slots of a pool unless the owner says otherwise: 16 MiB.
    package static let defaultSlotLimit = 8_192
    private static let slotsPerSlab = 64

    /// Slots in use.
    package private(set) var usedCount = 0
    private let slotLimit: Int
    private var slabs: [UnsafeMutableRawBufferPointer]
    private var free: [Int32] = []
    private var isUsed: [Bool] = []

    package init(slotLimit: Int = defaultSlotLimit) {
        self.slotLimit = slotLimit
        unsafe slabs = []
    }

    deinit {
        unsafe slabs.forEach { unsafe $0.deallocate() }
    }

    /// A slot with undefined content, or nil when the limit is reached.
    package func take() -> PacketSlot? {
        if free.isEmpty { addSlab() }
        guard let index = free.popLast() else { return nil }
        isUsed[Int(index)] = true
        usedCount += 1
        return PacketSlot(index: index)
    }

    /// Makes the slot free for the next `take()`.
    package func giveBack(_ slot: PacketSlot) {
        precondition(isUsed[Int(slot.index)], "a packet slot was given back twice")
        isUsed[Int(slot.index)] = false
        usedCount -= 1
        free.append(slot.index)
    }

    /// The slot's memory, valid until the slot is given back.
    package func bytes(of slot: PacketSlot) -> UnsafeMutableRawBufferPointer {
        let slab = unsafe slabs[Int(slot.index) / Self.slotsPerSlab]
        let offset = Int(slot.index) % Self.slotsPerSlab * Self.slotByteCount
        return unsafe UnsafeMutableRawBufferPointer(rebasing: slab[offset..<(offset + Self.slotByteCount)])
    }

    private func addSlab() {
        let first = isUsed.count
        let count = min(Self.slotsPerSlab, slotLimit - first)
        guard count > 0 else { return }
        unsafe slabs.append(.allocate(byteCount: Self.slotsPerSlab * Self.slotByteCount, alignment: 64))
        isUsed.append(contentsOf: repeatElement(false, count: count))
        free.reserveCapacity(isUsed.count)
        for index in (first..<(first + count)).reversed() { free.append(Int32(index)) }
    }
}
