import DTLS
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSFingerprints {
        static let other = try? DTLSCertificate.generate(at: 1_700_000_000)

        @Test func `a client refuses a server with another certificate`() throws {
            let pair = try DTLSPair()
            pair.client.transport.setRemoteFingerprints([try #require(Self.other).fingerprint])
            pair.run()
            #expect(pair.client.transport.state == .failed)
            #expect(pair.client.failure == .fingerprintMismatch(received: DTLSPair.serverCertificate?.fingerprint))
            #expect(pair.client.transport.statistics.sentAlert == 42)  // bad_certificate
            #expect(pair.server.failure == .alertReceived(42))
            #expect(pair.server.transport.statistics.receivedAlert == 42)
            #expect(pair.client.connected == nil)
            #expect(pair.server.connected == nil)
        }

        @Test func `a server refuses a client with another certificate`() throws {
            let pair = try DTLSPair()
            pair.server.transport.setRemoteFingerprints([try #require(Self.other).fingerprint])
            pair.run()
            #expect(pair.server.failure == .fingerprintMismatch(received: DTLSPair.clientCertificate?.fingerprint))
            #expect(pair.server.transport.statistics.sentAlert == 42)
            #expect(pair.client.failure == .alertReceived(42))
            #expect(pair.client.connected == nil)
        }

        @Test(arguments: [DTLSRole.client, .server])
        func `a fingerprint may come after the handshake`(role: DTLSRole) throws {
            let pair = try DTLSPair(exchangesFingerprints: false)
            let (late, early) = role == .client ? (pair.client, pair.server) : (pair.server, pair.client)
            let lateFingerprint = try #require(
                role == .client ? DTLSPair.serverCertificate : DTLSPair.clientCertificate
            ).fingerprint
            early.transport.setRemoteFingerprints([
                try #require(role == .client ? DTLSPair.clientCertificate : DTLSPair.serverCertificate).fingerprint
            ])
            pair.run(maximumTimeouts: 0)
            #expect(early.transport.state == .connected)
            #expect(late.transport.state == .connecting)
            #expect(late.events.isEmpty)
            #expect(late.transport.nextDeadline == nil)
            // What arrives meanwhile waits, and what is sent is refused.
            try early.send([7, 8, 9])
            pair.exchange()
            #expect(late.messages.isEmpty)
            #expect(throws: DTLSError.notConnected) { try late.send([1]) }

            late.transport.setRemoteFingerprints([lateFingerprint])
            late.drainEvents()
            #expect(late.connected?.keyingMaterial == early.connected?.keyingMaterial)
            #expect(late.connected != nil)
            late.transport.deliverHeld { late.messages.append($0.array()) }
            #expect(late.messages == [[7, 8, 9]])
            try early.send([10])
            pair.exchange()
            #expect(late.messages == [[7, 8, 9], [10]])
        }

        @Test func `held messages come before the next one even if nobody asks for them`() throws {
            let pair = try DTLSPair(exchangesFingerprints: false)
            pair.client.transport.setRemoteFingerprints([try #require(DTLSPair.serverCertificate).fingerprint])
            pair.run(maximumTimeouts: 0)
            try pair.client.send([1])
            pair.exchange()
            pair.server.transport.setRemoteFingerprints([try #require(DTLSPair.clientCertificate).fingerprint])
            try pair.client.send([2])
            pair.exchange()
            #expect(pair.server.messages == [[1], [2]])
        }

        @Test func `what waits for a fingerprint is bounded`() throws {
            let pair = try DTLSPair(exchangesFingerprints: false)
            pair.client.transport.setRemoteFingerprints([try #require(DTLSPair.serverCertificate).fingerprint])
            pair.run(maximumTimeouts: 0)
            for number in 0..<UInt8(DTLSTransport.maximumHeldDatagramCount + 5) {
                try pair.client.send([number])
            }
            pair.exchange()
            #expect(pair.server.transport.statistics.datagramsDropped == 5)
            pair.server.transport.setRemoteFingerprints([try #require(DTLSPair.clientCertificate).fingerprint])
            pair.server.transport.deliverHeld { pair.server.messages.append($0.array()) }
            #expect(pair.server.messages.count == DTLSTransport.maximumHeldDatagramCount)
        }

        @Test func `the last flight is repeated while the fingerprint is unknown`() throws {
            let pair = try DTLSPair(exchangesFingerprints: false)
            pair.client.transport.setRemoteFingerprints([try #require(DTLSPair.serverCertificate).fingerprint])
            pair.network = { role, burst, datagrams in role == .server && burst == 1 ? [] : datagrams }
            pair.run(maximumTimeouts: 3)
            #expect(pair.client.transport.state == .connected)
            #expect(pair.server.transport.state == .connecting)
        }

        @Test func `a late fingerprint that does not match ends the connection`() throws {
            let pair = try DTLSPair(exchangesFingerprints: false)
            pair.client.transport.setRemoteFingerprints([try #require(DTLSPair.serverCertificate).fingerprint])
            pair.run(maximumTimeouts: 0)
            try pair.client.send([1])
            pair.exchange()
            pair.server.transport.setRemoteFingerprints([try #require(Self.other).fingerprint])
            pair.exchange()
            #expect(pair.server.failure == .fingerprintMismatch(received: DTLSPair.clientCertificate?.fingerprint))
            #expect(pair.server.messages.isEmpty)
            #expect(pair.server.connected == nil)
            #expect(pair.client.events.last == .closed)
        }

        @Test(arguments: [CertificateHash.sha224, .sha256, .sha384, .sha512])
        func `every accepted hash function identifies the peer`(hash: CertificateHash) throws {
            let pair = try DTLSPair()
            let fingerprint = try #require(DTLSPair.serverCertificate?.fingerprint(algorithm: hash))
            #expect(fingerprint.bytes.count == hash.byteCount)
            pair.client.transport.setRemoteFingerprints([fingerprint])
            pair.run()
            #expect(pair.areConnected)
        }

        @Test func `SHA-1 alone identifies nobody`() throws {
            let pair = try DTLSPair()
            let bytes = [UInt8](repeating: 1, count: 20)
            pair.client.transport.setRemoteFingerprints([DTLSFingerprint(algorithm: "sha-1", bytes: bytes)])
            pair.run()
            #expect(pair.client.failure == .noUsableFingerprint)
        }

        @Test func `one right fingerprint among several by the same hash function is enough`() throws {
            let pair = try DTLSPair()
            let right = try #require(DTLSPair.serverCertificate).fingerprint
            let wrong = try #require(Self.other).fingerprint
            let sha1 = DTLSFingerprint(algorithm: "SHA-1", bytes: [UInt8](repeating: 0, count: 20))
            pair.client.transport.setRemoteFingerprints([sha1, wrong, right])
            pair.run()
            #expect(pair.areConnected)
        }

        @Test func `a right fingerprint does not make up for a wrong one by a stronger hash function`() throws {
            let pair = try DTLSPair()
            let right = try #require(DTLSPair.serverCertificate).fingerprint
            let wrong = try #require(Self.other?.fingerprint(algorithm: .sha512))
            pair.client.transport.setRemoteFingerprints([right, wrong])
            pair.run()
            #expect(
                pair.client.failure
                    == .fingerprintMismatch(received: DTLSPair.serverCertificate?.fingerprint(algorithm: .sha512))
            )
        }

        @Test func `setting another fingerprint once connected changes nothing`() throws {
            let pair = try DTLSPair()
            pair.run()
            pair.client.transport.setRemoteFingerprints([try #require(Self.other).fingerprint])
            #expect(pair.areConnected)
        }
    }
}

@Suite struct DTLSFingerprintText {
    @Test func `a fingerprint is written as it is read`() throws {
        let text =
            "sha-256 "
            + (0..<32).map { $0 < 16 ? "0" + "0123456789ABCDEF"[$0] : "1" + "0123456789ABCDEF"[$0 - 16] }
            .joined(separator: ":")
        let fingerprint = try #require(DTLSFingerprint(attributeValue: text))
        #expect(fingerprint.bytes == (0..<32).map { UInt8($0) })
        #expect(fingerprint.attributeValue == text)
    }

    @Test func `case and double spaces do not matter`() throws {
        let upper = try #require(
            DTLSFingerprint(attributeValue: "SHA-1  " + Array(repeating: "AB", count: 20).joined(separator: ":"))
        )
        let lower = try #require(
            DTLSFingerprint(attributeValue: "sha-1 " + Array(repeating: "ab", count: 20).joined(separator: ":"))
        )
        #expect(upper == lower)
        #expect(upper.algorithm == "sha-1")
    }

    @Test(arguments: CertificateHash.allCases)
    func `spaces around it do not matter, whatever the hash function`(hash: CertificateHash) throws {
        let expected = DTLSFingerprint(
            algorithm: hash.rawValue,
            bytes: (0..<hash.byteCount).map { UInt8(255 - $0) }
        )
        let text = expected.attributeValue
        #expect(DTLSFingerprint(attributeValue: text) == expected)
        #expect(DTLSFingerprint(attributeValue: "  \(text) ") == expected)
        #expect(DTLSFingerprint(attributeValue: text + ":00") == nil)
        #expect(DTLSFingerprint(attributeValue: String(text.dropLast(3))) == nil)
    }

    @Test(arguments: [
        "", "sha-256", "sha-256 ", "sha-256 AB", "sha-256 AB:CD", "sha-256 G0", "sha-1 A:BC", "sha-1 AB::CD",
        "sha-1 AB:CD:",
        "sha-1 AB CD", "sha-1 ABCD", " ", ":", "sha-1 :AB", "sha-1 A", "sha-1 AB:C", "sha-1 Ａ1", "x sha-1 AB",
        String(repeating: "s", count: 40) + " AB",
        "sha-999 " + Array(repeating: "AB", count: 65).joined(separator: ":"),
    ])
    func `malformed text is no fingerprint`(text: String) {
        #expect(DTLSFingerprint(attributeValue: text) == nil)
    }
}

extension String {
    fileprivate subscript(index: Int) -> String { String(self[self.index(startIndex, offsetBy: index)]) }
}
