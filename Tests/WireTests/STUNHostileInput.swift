import STUN
import SansIO
import Testing

@Suite struct STUNHostileInput {
    /// Asks a message for everything there is.
    private func exhaust(_ bytes: [UInt8]) throws(STUNError) -> STUNMessage {
        let span = bytes.span.bytes
        let message = try STUNMessage(span)
        let types = message.attributes.map(\.type) + [.username, .errorCode, .priority, .xorMappedAddress]
        for type in types {
            _ = message.bytes(type, in: span)
            _ = message.text(type, in: span)
            _ = message.uint32(type, in: span)
            _ = message.uint64(type, in: span)
            _ = message.address(type, in: span)
            _ = message.xorAddress(type, in: span)
        }
        _ = message.errorCode(in: span)
        _ = message.isAuthentic(span, key: STUNKey(password: "x"))
        // The wrong bytes are answered with nothing, not with a trap.
        for type in types { _ = message.xorAddress(type, in: span.extracting(0..<(span.byteCount / 2))) }
        return message
    }

    private func seeds() throws -> [[UInt8]] {
        try ["rfc5769", "pion-fuzz", "aioice"].flatMap { folder in
            try STUNVectorFiles.names(in: "STUN/\(folder)").filter { $0.hasSuffix(".bin") }
                .map { try STUNVectorFiles.bytes("STUN/\(folder)/\($0)") }
        }
    }

    @Test func `No seed of a fuzzer traps, nor any of its beginnings`() throws {
        let seeds = try seeds()
        #expect(seeds.count == 27)
        var readCount = 0
        for seed in seeds {
            for end in 0...seed.count where (try? exhaust(Array(seed[..<end]))) != nil { readCount += 1 }
        }
        #expect(readCount >= 8)
    }

    @Test(arguments: [1, 2, 3, 4]) func `Random mutations never trap`(seed: UInt64) throws {
        let mutation = STUNMutation(
            random: RandomSource(seed: seed),
            seeds: try seeds().filter { !$0.isEmpty },
            changeCount: 6
        )
        var readCount = 0
        for _ in 0..<5000 {
            let bytes = mutation.next()
            if (try? exhaust(bytes)) != nil { readCount += 1 }
        }
        #expect(readCount > 0)
    }

    @Test func `Each broken field has its error`() throws {
        let good = try STUNVectorFiles.bytes("STUN/rfc5769/2.1-sample-request.bin")
        func broken(_ change: (inout [UInt8]) -> Void) -> STUNError? {
            var bytes = good
            change(&bytes)
            do { _ = try exhaust(bytes) } catch { return error }
            return nil
        }
        #expect(broken { _ in } == nil)
        #expect(broken { $0[0] = 0x80 } == .notSTUN)
        #expect(broken { $0[4] = 0 } == .notSTUN)
        #expect(broken { $0.removeLast() } == .wrongLength)
        #expect(broken { $0[3] = 0x57 } == .wrongLength)
        #expect(broken { $0[23] = 0xF0 } == .truncatedAttribute)
        #expect(broken { $0[22] = 0xFF } == .truncatedAttribute)
        #expect(broken { $0[30] ^= 1 } == .wrongFingerprint)
        #expect(broken { $0[107] ^= 1 } == .wrongFingerprint)
        #expect(broken { $0[79] = 19 } == .malformedIntegrity)
        var many = STUNMessageWriter(.request, .binding, STUNTransactionID(high: 0, low: 0))
        for _ in 0..<STUNMessage.maximumAttributeCount { many.addFlag(.useCandidate) }
        let bytes = many.finish()
        #expect(throws: STUNError.tooManyAttributes) { try exhaust(bytes) }
    }

    @Test func `Attributes behind the integrity are not believed`() throws {
        let key = STUNKey(password: "secret")
        let id = STUNTransactionID(high: 1, low: 2)
        var bytes = STUNMessageWriter(.request, .binding, id).finish(key: key, fingerprint: false)
        bytes += [0x00, 0x24, 0, 4, 0, 0, 0, 9]
        bytes[3] += 8
        let reading = try STUNReading(bytes)
        #expect(reading.isAuthentic(key))
        #expect(!reading.message.contains(.priority))
    }

    /// What is left of a long-term key where libcrypto refuses MD5: everybody could sign with it.
    @Test func `A key without bytes makes nothing authentic`() throws {
        let key = STUNKey(bytes: [])
        let bytes = STUNMessageWriter(.request, .binding, STUNTransactionID(high: 1, low: 2)).finish(key: key)
        let reading = try STUNReading(bytes)
        #expect(reading.message.hasIntegrity)
        #expect(!reading.isAuthentic(key))
    }
}
