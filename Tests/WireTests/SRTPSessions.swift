import AllocationCounter
import SRTP
import SansIO
import Testing

/// Both directions under one key.
struct SRTPSessionPair: ~Copyable {
    var sending: SRTPSession
    var receiving: SRTPSession

    init(_ profile: SRTPProfileID) throws {
        let key = (0..<profile.keyByteCount).map { UInt8($0 * 7 + 1) }
        let salt = (0..<profile.saltByteCount).map { UInt8($0 * 5 + 3) }
        let sending = try SRTPSession(profile: profile, key: key, salt: salt, direction: .outbound)
        let receiving = try SRTPSession(profile: profile, key: key, salt: salt, direction: .inbound)
        self.sending = sending
        self.receiving = receiving
    }
}

@Suite struct SRTPSessions {
    @Test(arguments: SRTPProfileID.allCases)
    func `packets of every size and shape come out as they went in`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        for byteCount in 0..<300 {
            var packet = SRTPPackets.rtp(sequence: UInt16(byteCount), payloadByteCount: byteCount)
            if byteCount % 3 == 1, byteCount >= 8 {  // an extension of one word
                packet[0] |= 0x10
                packet.replaceSubrange(12..<20, with: [0xBE, 0xDE, 0, 1, 0x10, 5, 0, 0])
            }
            if byteCount % 3 == 2, byteCount >= 8 { packet[0] |= 2 }  // two contributing sources
            let protected = try SRTPPackets.protect(packet, &pair.sending)
            #expect(protected.count == packet.count + profile.tagByteCount)
            #expect(try SRTPPackets.unprotect(protected, &pair.receiving) == packet)
        }
        #expect(pair.receiving.inboundStreamCount == 1)
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `RTCP comes out as it went in`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        for words in 0..<100 {
            let packet = SRTPPackets.rtcp() + [UInt8](repeating: UInt8(words), count: 4 * words)
            let protected = try SRTPPackets.protectRTCP(packet, &pair.sending)
            #expect(protected.count == packet.count + profile.tagByteCount + 4)
            #expect(protected.count <= packet.count + SRTPSession.trailerByteCount)
            #expect(try SRTPPackets.unprotectRTCP(protected, &pair.receiving) == packet)
            #expect(throws: SRTPError.replayed) { try SRTPPackets.unprotectRTCP(protected, &pair.receiving) }
        }
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `a packet is accepted once, late ones within the window`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        let count = SRTPSession.replayWindow + 10
        var packets: [[UInt8]] = []
        for number in 0..<count {
            packets.append(try SRTPPackets.protect(SRTPPackets.rtp(sequence: UInt16(number)), &pair.sending))
        }
        _ = try SRTPPackets.unprotect(packets[count - 1], &pair.receiving)
        #expect(throws: SRTPError.replayed) { try SRTPPackets.unprotect(packets[count - 1], &pair.receiving) }
        for number in stride(from: count - 2, to: count - SRTPSession.replayWindow, by: -1) {
            #expect(throws: Never.self) { try SRTPPackets.unprotect(packets[number], &pair.receiving) }
            #expect(throws: SRTPError.replayed) { try SRTPPackets.unprotect(packets[number], &pair.receiving) }
        }
        #expect(throws: SRTPError.replayed) { try SRTPPackets.unprotect(packets[0], &pair.receiving) }
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `sequence numbers may wrap around, with loss and disorder`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        var late: [UInt8]?
        for number in 65_000..<66_200 {
            let packet = SRTPPackets.rtp(sequence: UInt16(truncatingIfNeeded: number))
            let protected = try SRTPPackets.protect(packet, &pair.sending)
            if number == 65_535 {
                late = protected
                continue
            }
            if number % 7 == 3 { continue }
            #expect(try SRTPPackets.unprotect(protected, &pair.receiving) == packet)
            if number == 65_540, let late {
                #expect(try SRTPPackets.unprotect(late, &pair.receiving) == SRTPPackets.rtp(sequence: 65_535))
            }
        }
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `no bit of a packet can be changed`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        let packet = SRTPPackets.rtp(sequence: 9, payloadByteCount: 20)
        let protected = try SRTPPackets.protect(packet, &pair.sending)
        let report = SRTPPackets.rtcp() + [1, 2, 3, 4]
        let protectedReport = try SRTPPackets.protectRTCP(report, &pair.sending)
        for bit in 0..<(8 * protected.count) {
            var forged = protected
            forged[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: SRTPError.self) { try SRTPPackets.unprotect(forged, &pair.receiving) }
        }
        for bit in 0..<(8 * protectedReport.count) {
            var forged = protectedReport
            forged[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: SRTPError.self) { try SRTPPackets.unprotectRTCP(forged, &pair.receiving) }
        }
        #expect(pair.receiving.inboundStreamCount == 0)
        #expect(try SRTPPackets.unprotect(protected, &pair.receiving) == packet)
        #expect(try SRTPPackets.unprotectRTCP(protectedReport, &pair.receiving) == report)
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `a packet under other keys is a forgery`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        var other = try SRTPSession(
            profile: profile,
            key: [UInt8](repeating: 9, count: profile.keyByteCount),
            salt: [UInt8](repeating: 9, count: profile.saltByteCount),
            direction: .outbound
        )
        let protected = try SRTPPackets.protect(SRTPPackets.rtp(sequence: 1), &other)
        #expect(throws: SRTPError.authenticationFailed) { try SRTPPackets.unprotect(protected, &pair.receiving) }
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `every truncation is refused`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        var packet = SRTPPackets.rtp(sequence: 9, payloadByteCount: 20)
        packet[0] |= 0x10
        packet.replaceSubrange(12..<20, with: [0xBE, 0xDE, 0, 1, 0x10, 5, 0, 0])
        let protected = try SRTPPackets.protect(packet, &pair.sending)
        let report = try SRTPPackets.protectRTCP(SRTPPackets.rtcp(), &pair.sending)
        for byteCount in 0..<protected.count {
            #expect(throws: SRTPError.self) {
                try SRTPPackets.unprotect(Array(protected[..<byteCount]), &pair.receiving)
            }
        }
        for byteCount in 0..<report.count {
            #expect(throws: SRTPError.self) {
                try SRTPPackets.unprotectRTCP(Array(report[..<byteCount]), &pair.receiving)
            }
        }
        #expect(throws: SRTPError.malformed) { try SRTPPackets.unprotect([], &pair.receiving) }
        #expect(throws: SRTPError.malformed) { try SRTPPackets.unprotectRTCP([], &pair.receiving) }
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `noise is refused, whatever it looks like`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        let random = RandomSource(seed: 42)
        for _ in 0..<3000 {
            var noise = (0..<Int(random.next() % 80)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            if !noise.isEmpty { noise[0] = 0x80 | (noise[0] & 0x3F) }
            #expect(throws: SRTPError.self) { try SRTPPackets.unprotect(noise, &pair.receiving) }
            #expect(throws: SRTPError.self) { try SRTPPackets.unprotectRTCP(noise, &pair.receiving) }
        }
        #expect(pair.receiving.inboundStreamCount == 0)
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `what is no packet is not protected`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        #expect(throws: SRTPError.malformed) { try SRTPPackets.protect([0x80, 96, 0], &pair.sending) }
        #expect(throws: SRTPError.malformed) {
            try SRTPPackets.protect([UInt8](repeating: 0, count: 40), &pair.sending)
        }
        #expect(throws: SRTPError.malformed) { try SRTPPackets.protectRTCP([0x80, 201], &pair.sending) }
        var overlong = SRTPPackets.rtp(sequence: 1, payloadByteCount: 8)
        overlong[0] |= 0x10
        overlong[14] = 0xFF  // an extension of 65000 words
        #expect(throws: SRTPError.malformed) { try SRTPPackets.protect(overlong, &pair.sending) }
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `a buffer without room for the trailer is refused`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        var packet = SRTPPackets.rtp(sequence: 1) + [UInt8](repeating: 0, count: profile.tagByteCount - 1)
        let byteCount = packet.count - profile.tagByteCount + 1
        #expect(throws: SRTPError.bufferTooSmall) {
            try packet.withUnsafeMutableBytes { try pair.sending.protect($0, byteCount: byteCount) }
        }
        #expect(throws: SRTPError.bufferTooSmall) {
            try packet.withUnsafeMutableBytes { try pair.sending.protectRTCP($0, byteCount: byteCount) }
        }
        #expect(throws: SRTPError.bufferTooSmall) {
            try packet.withUnsafeMutableBytes { try pair.sending.protect($0, byteCount: -1) }
        }
    }

    @Test func `the same packet may be sent again`() throws {
        var pair = try SRTPSessionPair(.aeadAes128Gcm)
        let packet = SRTPPackets.rtp(sequence: 5)
        let first = try SRTPPackets.protect(packet, &pair.sending)
        _ = try SRTPPackets.protect(SRTPPackets.rtp(sequence: 6), &pair.sending)
        #expect(try SRTPPackets.protect(packet, &pair.sending) == first)
    }

    @Test func `a peer opens a limited number of streams`() throws {
        var pair = try SRTPSessionPair(.aeadAes128Gcm)
        for ssrc in 1...UInt32(SRTPSession.maximumStreamCount) {
            let protected = try SRTPPackets.protect(SRTPPackets.rtp(sequence: 1, ssrc: ssrc), &pair.sending)
            _ = try SRTPPackets.unprotect(protected, &pair.receiving)
        }
        let next = try SRTPPackets.protect(SRTPPackets.rtp(sequence: 1, ssrc: 0xFFFF), &pair.sending)
        let report = try SRTPPackets.protectRTCP(SRTPPackets.rtcp(ssrc: 0xFFFE), &pair.sending)
        #expect(throws: SRTPError.tooManyStreams) { try SRTPPackets.unprotect(next, &pair.receiving) }
        #expect(throws: SRTPError.tooManyStreams) { try SRTPPackets.unprotectRTCP(report, &pair.receiving) }
        pair.receiving.removeStream(ssrc: 7)
        #expect(throws: Never.self) { try SRTPPackets.unprotect(next, &pair.receiving) }
        #expect(pair.receiving.inboundStreamCount == SRTPSession.maximumStreamCount)
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `keys and salts of another length are refused`(profile: SRTPProfileID) {
        let key = [UInt8](repeating: 1, count: profile.keyByteCount)
        let salt = [UInt8](repeating: 1, count: profile.saltByteCount)
        #expect(throws: SRTPError.wrongKeyLength) {
            _ = try SRTPSession(profile: profile, key: key + [1], salt: salt, direction: .inbound)
        }
        #expect(throws: SRTPError.wrongKeyLength) {
            _ = try SRTPSession(profile: profile, key: key, salt: [], direction: .outbound)
        }
    }

    @Test(arguments: SRTPProfileID.allCases)
    func `protecting and opening allocate no more than libsrtp itself`(profile: SRTPProfileID) throws {
        var pair = try SRTPSessionPair(profile)
        let byteCount = 1200
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: byteCount + SRTPSession.trailerByteCount,
            alignment: 16
        )
        defer { buffer.deallocate() }
        let packet = SRTPPackets.rtp(sequence: 0, payloadByteCount: byteCount - 12)
        let report = SRTPPackets.rtcp() + [1, 2, 3, 4]
        func pass(_ sequence: UInt8) throws {
            buffer.copyBytes(from: packet)
            buffer[3] = sequence
            let count = try pair.sending.protect(buffer, byteCount: byteCount)
            _ = try pair.receiving.unprotect(.init(rebasing: buffer[..<count]))
            buffer.copyBytes(from: report)
            let reportCount = try pair.sending.protectRTCP(buffer, byteCount: report.count)
            _ = try pair.receiving.unprotectRTCP(.init(rebasing: buffer[..<reportCount]))
        }
        try pass(0)
        let before = allocation_counter_this_thread()
        try pass(1)
        try pass(2)
        // Debian's libsrtp calls NSS, which allocates for each packet (counted in a C program: 14 times with
        // HMAC-SHA1, 5 times with GCM); built with OpenSSL it allocates nothing.
        let perCall: Int64 = profile == .aes128CmSha1_80 ? 14 : 5
        #expect(allocation_counter_this_thread() - before <= 8 * perCall)
    }
}
