import STUN
import SansIO

/// Makes nonces and knows its own again, without a list.
///
/// A nonce is the second in which it was made and a code over that second and the client's address, so that none can be
/// made up, none lasts, and none is of use to another host.
///
/// RFC 8489 §9.2, §14.10
struct NonceIssuer {
    private let key: STUNKey
    private let lifetimeSeconds: Int64

    init(lifetime: Duration, random: RandomSource) {
        key = STUNKey(password: random.iceCharacters(32))
        lifetimeSeconds = lifetime.components.seconds
    }

    func nonce(for ip: IPAddress, at now: Instant) -> [UInt8] {
        nonce(for: ip, second: UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000_000))
    }

    /// Whether it was made here for that address, and not too long ago.
    func isFresh(_ nonce: [UInt8], for ip: IPAddress, at now: Instant) -> Bool {
        guard nonce.count == Self.byteCount else { return false }
        var second: UInt32 = 0
        for byte in nonce[..<8] {
            switch byte {
            case 0x30...0x39: second = second << 4 | UInt32(byte - 0x30)
            case 0x61...0x66: second = second << 4 | UInt32(byte - 0x57)
            default: return false
            }
        }
        let age = now.nanoseconds / 1_000_000_000 - Int64(second)
        guard (0...lifetimeSeconds).contains(age) else { return false }
        let made = self.nonce(for: ip, second: second)
        var difference: UInt8 = made.count == nonce.count ? 0 : 1
        for (one, other) in zip(made, nonce) { difference |= one ^ other }
        return difference == 0
    }

    private func nonce(for ip: IPAddress, second: UInt32) -> [UInt8] {
        var writer = ByteWriter(reserving: 24)
        writer.write(second)
        writer.write(ip.high)
        writer.write(ip.low)
        let code = key.authenticationCode(of: writer.bytes)
        var text: [UInt8] = []
        text.reserveCapacity(Self.byteCount)
        for place in 0..<8 { text.append(Self.digit(UInt8(truncatingIfNeeded: second >> UInt32(28 - 4 * place) & 15))) }
        for byte in code.prefix(Self.codeByteCount) {
            text.append(Self.digit(byte >> 4))
            text.append(Self.digit(byte & 15))
        }
        return text
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }

    /// 64 bits: an attempt at each costs a round trip, and success only a fresh challenge's worth.
    private static let codeByteCount = 8
    private static let byteCount = 8 + 2 * codeByteCount
}
