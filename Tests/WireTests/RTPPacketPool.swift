import SansIO
import Testing

@Suite("Packet pool and ring queue")
struct RTPPacketPool {
    @Test("slots are distinct, bounded, and come back")
    func slots() throws {
        let pool = PacketPool(slotLimit: 100)
        var slots: [PacketSlot] = []
        while let slot = pool.take() {
            pool.bytes(of: slot).storeBytes(of: slots.count, as: Int.self)
            slots.append(slot)
        }
        #expect(slots.count == 100)
        #expect(Set(slots).count == 100)
        for (number, slot) in slots.enumerated() {
            #expect(pool.bytes(of: slot).count == PacketPool.slotByteCount)
            #expect(pool.bytes(of: slot).load(as: Int.self) == number)
        }
        for slot in slots { pool.giveBack(slot) }
        #expect(pool.usedCount == 0)
        let again = try #require(pool.take())
        #expect(slots.contains(again))
    }

    @Test("a queue keeps its order while it grows and wraps around")
    func queue() {
        var queue = RingQueue<Int>()
        var next = 0
        for number in 0..<1_000 {
            queue.append(number)
            if number % 3 == 0 {
                let first = queue.popFirst()
                #expect(first == next)
                next += 1
            }
        }
        queue.removeAll { $0 % 2 == 0 }
        while let number = queue.popFirst() {
            if next % 2 == 0 { next += 1 }
            #expect(number == next)
            next += 1
        }
        #expect(next == 1_000)
        #expect(queue.isEmpty)
    }
}
