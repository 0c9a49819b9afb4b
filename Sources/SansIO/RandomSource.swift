import Glibc

/// The random bits of one engine and its machines: the system's, or a seeded sequence for tests.
///
/// A class, so that machines which share it never draw the same bits. Confined to the engine's event loop.
package final class RandomSource: RandomNumberGenerator {
    /// State of xoshiro256**, or nil for the system's generator.
    private var state: (UInt64, UInt64, UInt64, UInt64)?
    /// Numbers from the system that were not used yet: a system call gives a block of them.
    private var block: [UInt64] = []
    private static let blockCount = 32

    /// The system's cryptographically secure generator.
    package init() {}

    /// A reproducible sequence.
    ///
    /// For tests only.
    package init(seed: UInt64) {
        var mixer = seed
        func next() -> UInt64 {  // splitmix64
            mixer &+= 0x9E37_79B9_7F4A_7C15
            var value = mixer
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return value ^ (value >> 31)
        }
        state = (next(), next(), next(), next())
    }

    package func next() -> UInt64 {
        guard var (a, b, c, d) = state else { return nextOfSystem() }
        func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { (value << count) | (value >> (64 - count)) }
        let result = rotate(b &* 5, 7) &* 9
        let t = b << 17
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= t
        d = rotate(d, 45)
        state = (a, b, c, d)
        return result
    }

    private func nextOfSystem() -> UInt64 {
        if let number = block.popLast() { return number }
        block = unsafe [UInt64](unsafeUninitializedCapacity: Self.blockCount) { numbers, count in
            // Up to 256 bytes come whole or, before the kernel's pool is ready or in a strange sandbox, not at all.
            let byteCount = Self.blockCount * MemoryLayout<UInt64>.size
            count = unsafe getentropy(numbers.baseAddress, byteCount) == 0 ? Self.blockCount : 0
        }
        if let number = block.popLast() { return number }
        var system = SystemRandomNumberGenerator()
        return system.next()
    }

    /// Random text over ALPHA / DIGIT / "+" / "/", six random bits a character (the ice-char of RFC 8839 §5.4).
    package func iceCharacters(_ count: Int) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        return String(decoding: (0..<count).map { _ in alphabet[Int(next() >> 58)] }, as: UTF8.self)
    }

    /// Random text over letters and digits.
    package func alphanumerics(_ count: Int) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
        return String(
            decoding: (0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &generator)] },
            as: UTF8.self
        )
    }

    private var generator: RandomSource {
        get { self }
        set {}
    }
}
