import SRTP
import SansIO
import Testing

/// Vectors of libsrtp's own test driver (BSD-3-Clause, Cisco Systems): plain and protected packets under one key.
@Suite struct SRTPVectors {
    struct Vector: Sendable {
        var profile: SRTPProfileID
        var key: String
        var salt: String
        var rtp: String
        var srtp: String
        var rtcp: String
        var srtcp: String
    }

    static let vectors = [
        Vector(
            profile: .aes128CmSha1_80,
            key: "e1f97a0d3e018be0d64fa32c06de4139",
            salt: "0ec675ad498afeebb6960b3aabe6",
            rtp: "800f1234decafbadcafebabeabababababababababababababababab",
            srtp: "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
            rtcp: "81c8000bcafebabeabababababababababababababababab",
            srtcp: "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"
        ),
        Vector(
            profile: .aeadAes128Gcm,
            key: "000102030405060708090a0b0c0d0e0f",
            salt: "a0a1a2a3a4a5a6a7a8a9aaab",
            rtp: "800f1234decafbadcafebabeabababababababababababababababab",
            srtp: "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            rtcp: "81c8000bcafebabeabababababababababababababababab",
            srtcp: "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001"
        ),
    ]

    static func bytes(_ hex: String) -> [UInt8] {
        let digits = hex.compactMap(\.hexDigitValue).map(UInt8.init)
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    @Test(arguments: vectors)
    func `packets are protected and opened as libsrtp's vectors say`(vector: Vector) throws {
        let key = Self.bytes(vector.key)
        let salt = Self.bytes(vector.salt)
        var sending = try SRTPSession(profile: vector.profile, key: key, salt: salt, direction: .outbound)
        var receiving = try SRTPSession(profile: vector.profile, key: key, salt: salt, direction: .inbound)
        #expect(try SRTPPackets.protect(Self.bytes(vector.rtp), &sending) == Self.bytes(vector.srtp))
        #expect(try SRTPPackets.unprotect(Self.bytes(vector.srtp), &receiving) == Self.bytes(vector.rtp))
        #expect(try SRTPPackets.protectRTCP(Self.bytes(vector.rtcp), &sending) == Self.bytes(vector.srtcp))
        #expect(try SRTPPackets.unprotectRTCP(Self.bytes(vector.srtcp), &receiving) == Self.bytes(vector.rtcp))
    }
}
