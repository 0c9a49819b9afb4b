import PAKE
import Testing

@Suite("SPAKE2 (RFC 9382)") struct PasswordKeyExchange {
    private func bytes(_ hex: String) -> [UInt8] {
        var digits = hex.utf8.makeIterator()
        var bytes: [UInt8] = []
        while let high = digits.next(), let low = digits.next() {
            bytes.append(UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16) ?? 0)
        }
        return bytes
    }

    private func random(_ fill: UInt8) -> [UInt8] { (0..<48).map { fill &+ $0 } }

    private func pair(_ codeA: String = "7-amber-otter", _ codeB: String = "7-amber-otter") throws -> (SPAKE2, SPAKE2) {
        let (a, b) = (Array("receiver".utf8), Array("sender".utf8))
        return (
            try SPAKE2(role: .a, code: Array(codeA.utf8), identityA: a, identityB: b, random: random(1)),
            try SPAKE2(role: .b, code: Array(codeB.utf8), identityA: a, identityB: b, random: random(77))
        )
    }

    /// The first vector of RFC 9382 Appendix B for P256-SHA256-HKDF-HMAC.
    @Test func theVectorOfTheRFC() throws {
        let password = bytes("2ee57912099d31560b3a44b1184b9b4866e904c49d12ac5042c97dca461b1a5f")
        let (server, client) = (Array("server".utf8), Array("client".utf8))
        let a = try SPAKE2(
            role: .a,
            password: password,
            secret: bytes("43dd0fd7215bdcb482879fca3220c6a968e66d70b1356cac18bb26c84a78d729"),
            identityA: server,
            identityB: client
        )
        let b = try SPAKE2(
            role: .b,
            password: password,
            secret: bytes("dcb60106f276b02606d8ef0a328c02e4b629f84f89786af5befb0bc75b6e66be"),
            identityA: server,
            identityB: client
        )
        #expect(
            a.share
                == bytes(
                    "04a56fa807caaa53a4d28dbb9853b9815c61a411118a6fe516a8798434751470f9"
                        + "010153ac33d0d5f2047ffdb1a3e42c9b4e6be662766e1eeb4116988ede5f912c"
                )
        )
        #expect(
            b.share
                == bytes(
                    "0406557e482bd03097ad0cbaa5df82115460d951e3451962f1eaf4367a420676d0"
                        + "9857ccbc522686c83d1852abfa8ed6e4a1155cf8f1543ceca528afb591a1e0b7"
                )
        )
        let keysA = try a.finish(peerShare: b.share)
        let keysB = try b.finish(peerShare: a.share)
        #expect(keysA.sharedKey == bytes("0e0672dc86f8e45565d338b0540abe69"))
        #expect(keysB.sharedKey == keysA.sharedKey)
        #expect(
            keysA.confirmation == bytes("58ad4aa88e0b60d5061eb6b5dd93e80d9c4f00d127c65b3b35b1b5281fee38f0")
        )
        #expect(
            keysB.confirmation == bytes("d3e2e547f1ae04f2dbdbf0fc4b79f8ecff2dff314b5d32fe9fcef2fb26dc459b")
        )
        try keysA.verify(keysB.confirmation)
        try keysB.verify(keysA.confirmation)
    }

    @Test func whoKnowsTheCodeIsConfirmed() throws {
        let (a, b) = try pair()
        let keysA = try a.finish(peerShare: b.share, additionalData: [1, 2, 3])
        let keysB = try b.finish(peerShare: a.share, additionalData: [1, 2, 3])
        #expect(keysA.sharedKey == keysB.sharedKey)
        try keysA.verify(keysB.confirmation)
        try keysB.verify(keysA.confirmation)
    }

    @Test func anotherCodeIsNot() throws {
        let (a, b) = try pair("7-amber-otter", "7-amber-other")
        let keysA = try a.finish(peerShare: b.share)
        let keysB = try b.finish(peerShare: a.share)
        #expect(keysA.sharedKey != keysB.sharedKey)
        #expect(throws: SPAKE2Error.wrongCode) { try keysA.verify(keysB.confirmation) }
        #expect(throws: SPAKE2Error.wrongCode) { try keysB.verify(keysA.confirmation) }
    }

    @Test func neitherIsWhoDisagreesOnTheRest() throws {
        let (a, b) = try pair()
        let keysA = try a.finish(peerShare: b.share, additionalData: [1])
        let keysB = try b.finish(peerShare: a.share, additionalData: [2])
        #expect(throws: SPAKE2Error.wrongCode) { try keysA.verify(keysB.confirmation) }
        #expect(throws: SPAKE2Error.wrongCode) { try keysB.verify(keysA.confirmation) }
    }

    /// One's own share and confirmation sent back prove nothing.
    @Test func aMirrorIsRefused() throws {
        let (a, b) = try pair()
        #expect(throws: SPAKE2Error.invalidShare) { try a.finish(peerShare: a.share) }
        let keys = try a.finish(peerShare: b.share)
        #expect(throws: SPAKE2Error.wrongCode) { try keys.verify(keys.confirmation) }
    }

    @Test func sharesThatAreNoPointsAreRefused() throws {
        let (a, b) = try pair()
        let point = b.share
        var wrong: [[UInt8]] = [[], [0], [4], Array(point.dropLast()), point + [0], [UInt8](repeating: 0, count: 65)]
        wrong.append([4] + [UInt8](repeating: 0xFF, count: 64))
        for index in point.indices {
            var broken = point
            broken[index] ^= 1
            wrong.append(broken)
        }
        for share in wrong {
            #expect(throws: SPAKE2Error.invalidShare, "\(share)") { try a.finish(peerShare: share) }
        }
        let keys = try a.finish(peerShare: point)
        for confirmation in [[], [0], keys.confirmation, [UInt8](repeating: 0, count: 32)] as [[UInt8]] {
            #expect(throws: SPAKE2Error.wrongCode) { try keys.verify(confirmation) }
        }
    }

    /// Side B's blinding alone, which would make the common point the neutral element.
    @Test func aShareThatCancelsTheCodeIsRefused() throws {
        let password = [UInt8](repeating: 0, count: 31) + [1]
        let (a, b) = (Array("a".utf8), Array("b".utf8))
        let honest = try SPAKE2(role: .a, password: password, secret: random(9), identityA: a, identityB: b)
        // The secret 0 leaves N times the password.
        let hostile = try SPAKE2(
            role: .b,
            password: password,
            secret: [UInt8](repeating: 0, count: 32),
            identityA: a,
            identityB: b
        )
        #expect(throws: SPAKE2Error.invalidShare) { try honest.finish(peerShare: hostile.share) }
    }

    /// Appendix A.1 and A.3 of RFC 5869.
    @Test func theVectorsOfHKDF() throws {
        let key = try HKDF.extract(salt: Array(0...12), [UInt8](repeating: 0x0B, count: 22))
        #expect(key == bytes("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"))
        #expect(
            try HKDF.expand(key, info: Array(0xF0...0xF9), byteCount: 42)
                == bytes(
                    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
                )
        )
        let unsalted = try HKDF.extract(salt: [], [UInt8](repeating: 0x0B, count: 22))
        #expect(
            try HKDF.expand(unsalted, info: [], byteCount: 42)
                == bytes("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
        )
        #expect(throws: SPAKE2Error.self) { try HKDF.expand(key, info: [], byteCount: 8_161) }
        #expect(throws: SPAKE2Error.self) { try HKDF.expand(key, info: [], byteCount: 0) }
    }
}
