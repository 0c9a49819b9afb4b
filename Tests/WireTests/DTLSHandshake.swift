import DTLS
import SRTP
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSHandshake {
        @Test func bothSidesConnectAndAgreeOnKeys() throws {
            let pair = try DTLSPair()
            pair.trustEachOther()
            pair.start()
            pair.run()
            #expect(pair.client.state == .connected)
            #expect(pair.server.state == .connected)
            let keys = pair.keys
            #expect(keys.client?.profile == .aeadAes128Gcm)
            #expect(keys.client?.clientKey == keys.server?.clientKey)
            #expect(keys.client?.serverSalt == keys.server?.serverSalt)
            #expect(keys.client?.clientKey != keys.client?.serverKey)
        }

        @Test func applicationDataArrivesAsItWasSent() throws {
            let pair = try DTLSPair()
            pair.trustEachOther()
            pair.start()
            pair.run()
            for count in [1, 100, 1_150, 5_000] {
                let message = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
                try send(message, on: pair.client)
                pair.run(for: .zero)
                #expect(pair.serverReceived.last == message)
            }
        }

        @Test func nothingIsSentBeforeTheHandshake() throws {
            let pair = try DTLSPair()
            #expect(throws: DTLSError.notConnected) {
                try send([1], on: pair.client)
            }
        }

        @Test(arguments: 0..<6, [true, false])
        func aLostDatagramIsSentAgain(number: Int, fromClient: Bool) throws {
            let pair = try DTLSPair()
            pair.trustEachOther()
            pair.link = { direction, count, datagram in direction == fromClient && count == number ? [] : [datagram] }
            pair.start()
            pair.run()
            #expect(pair.client.state == .connected)
            #expect(pair.server.state == .connected)
        }

        @Test func duplicatesAndGarbageDoNotDisturb() throws {
            let pair = try DTLSPair()
            pair.trustEachOther()
            var random = RandomSource(seed: 7)
            pair.link = { _, _, datagram in
                let noise = (0..<Int.random(in: 1...200, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                var alien = noise
                alien[0] = 22
                return [noise, datagram, Array(datagram.dropLast(3)), datagram, alien]
            }
            pair.start()
            pair.run()
            #expect(pair.client.state == .connected)
            #expect(pair.server.state == .connected)
        }

        @Test func aWrongFingerprintFailsBeforeAnythingIsDelivered() throws {
            let pair = try DTLSPair()
            let other = try DTLSCertificate.generate(at: 1_700_000_000)
            pair.client.setRemoteFingerprints([other.fingerprint])
            pair.server.setRemoteFingerprints([pair.clientCertificate.fingerprint])
            pair.start()
            pair.run()
            #expect(pair.client.state == .failed)
            #expect(pair.keys.client == nil)
            guard case .failed(.fingerprintMismatch(let received))? = pair.clientEvents.last else {
                Issue.record("expected a fingerprint mismatch, got \(pair.clientEvents)")
                return
            }
            #expect(received == pair.serverCertificate.fingerprint)
        }

        @Test func aFingerprintMayComeAfterTheHandshake() throws {
            let pair = try DTLSPair()
            pair.server.setRemoteFingerprints([pair.clientCertificate.fingerprint])
            pair.start()
            pair.run()
            #expect(pair.client.state == .connecting)
            #expect(pair.keys.client == nil)
            pair.client.setRemoteFingerprints([pair.serverCertificate.fingerprint])
            #expect(pair.client.state == .connected)
        }

        @Test func aClientHelloBeforeTheStartIsKept() throws {
            let pair = try DTLSPair()
            pair.trustEachOther()
            pair.client.start(role: .client, initialTimeout: .milliseconds(50), at: pair.now)
            pair.run(for: .milliseconds(10))
            #expect(pair.server.state == .new)
            pair.server.start(role: .server, initialTimeout: .milliseconds(50), at: pair.now)
            pair.run()
            #expect(pair.server.state == .connected)
        }

        @Test func closeTellsThePeer() throws {
            let pair = try DTLSPair()
            pair.trustEachOther()
            pair.start()
            pair.run()
            pair.client.close()
            pair.run(for: .zero)
            #expect(pair.server.state == .closed)
        }

        @Test func withoutACommonProfileDataStillFlows() throws {
            let pair = try DTLSPair(clientProfiles: [.aeadAes256Gcm], serverProfiles: [.aes128CmSha1_80])
            pair.trustEachOther()
            pair.start()
            pair.run()
            #expect(pair.client.state == .connected)
            #expect(pair.keys.client == nil)
        }

        @Test(arguments: SRTPProfileID.allCases)
        func everyProfileCarriesPackets(profile: SRTPProfileID) throws {
            let pair = try DTLSPair(clientProfiles: [profile], serverProfiles: SRTPProfileID.allCases)
            pair.trustEachOther()
            pair.start()
            pair.run()
            let client = try #require(pair.keys.client)
            let server = try #require(pair.keys.server)
            #expect(client.profile == profile)
            var outbound = try SRTPSession(
                profile: profile,
                key: client.clientKey,
                salt: client.clientSalt,
                direction: .outbound
            )
            var inbound = try SRTPSession(
                profile: profile,
                key: server.clientKey,
                salt: server.clientSalt,
                direction: .inbound
            )
            var packet: [UInt8] = [0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 42] + Array(repeating: 7, count: 100)
            let plain = packet
            packet += Array(repeating: 0, count: SRTPSession.trailerByteCount)
            let length = protect(&packet, byteCount: plain.count, with: &outbound)
            #expect(Array(packet[12..<20]) != Array(plain[12..<20]))
            packet.removeLast(packet.count - length)
            #expect(unprotect(packet, with: &inbound) == .success(plain))
            #expect(unprotect(packet, with: &inbound) == .failure(.replayed))
            var forged = packet
            forged[3] = 2
            forged[30] ^= 1
            #expect(unprotect(forged, with: &inbound) == .failure(.authenticationFailed))
            #expect(unprotect(Array(packet[..<11]), with: &inbound) == .failure(.malformed))
        }

        private func send(_ message: [UInt8], on transport: DTLSTransport) throws(DTLSError) {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: message.count, alignment: 16)
            defer { memory.deallocate() }
            memory.copyBytes(from: message)
            try transport.send(UnsafeRawBufferPointer(memory))
        }

        private func protect(_ packet: inout [UInt8], byteCount: Int, with session: inout SRTPSession) -> Int {
            let count = packet.count
            return packet.withUnsafeMutableBufferPointer { buffer -> Int in
                let raw = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
                do { return try session.protect(raw, byteCount: byteCount) } catch { return 0 }
            }
        }

        private func unprotect(_ packet: [UInt8], with session: inout SRTPSession) -> Result<[UInt8], SRTPError> {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: packet.count, alignment: 16)
            defer { memory.deallocate() }
            memory.copyBytes(from: packet)
            do throws(SRTPError) {
                let count = try session.unprotect(memory)
                return .success(Array(memory[..<count]))
            } catch {
                return .failure(error)
            }
        }
    }
}
