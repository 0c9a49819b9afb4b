import SansIO

/// Datagrams that are nearly STUN messages: one of `seeds` with some bytes changed, cut off, added or put in.
struct STUNMutation {
    let random: RandomSource
    let seeds: [[UInt8]]
    let changeCount: Int

    /// The next one; every second has a length field that fits, as far as it has one.
    func next() -> [UInt8] {
        var bytes = seeds[below(seeds.count)]
        for _ in 0..<(1 + below(changeCount)) {
            switch below(4) {
            case 0 where !bytes.isEmpty: bytes[below(bytes.count)] = UInt8(truncatingIfNeeded: random.next())
            case 1 where !bytes.isEmpty: bytes.removeLast(below(bytes.count))
            case 2: bytes += (0..<below(40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: below(bytes.count + 1))
            }
        }
        // ChannelData has its length elsewhere.
        if below(2) == 0, bytes.count >= 20, bytes.count < 65_536, bytes[0] < 0x40 {
            bytes[2] = UInt8((bytes.count - 20) >> 8)
            bytes[3] = UInt8((bytes.count - 20) & 0xFF)
        }
        return bytes
    }

    private func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
}
