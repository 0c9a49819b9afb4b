import DTLS
import SRTP
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSHandshake {
        @Test func `both ends connect and derive the same keys`() throws {
            let pair = try DTLSPair()
            #expect(pair.client.transport.state == .new)
            pair.run()
            let client = try #require(pair.client.connected)
            let server = try #require(pair.server.connected)
            #expect(pair.areConnected)
            #expect(client.role == .client)
            #expect(server.role == .server)
            #expect(client.keyingMaterial != nil)
            #expect(client.keyingMaterial == server.keyingMaterial)
            #expect(client.srtpProfile == .aeadAes128Gcm)
            #expect(client.cipherName == "ECDHE-ECDSA-AES128-GCM-SHA256")
            #expect(server.cipherName == client.cipherName)
            #expect(client.version == 0xFEFD)
            #expect(pair.client.events.count == 1)
            #expect(pair.client.transport.nextDeadline == nil)
            #expect(pair.server.transport.nextDeadline == nil)
        }

        @Test func `keys of one end open what the other protects`() throws {
            let pair = try DTLSPair()
            pair.run()
            let client = try #require(pair.client.connected?.keyingMaterial)
            let server = try #require(pair.server.connected?.keyingMaterial)
            for (sender, receiver, role) in [(client, server, DTLSRole.client), (server, client, DTLSRole.server)] {
                let out = sender.outbound(role: role)
                let into = receiver.inbound(role: role == .client ? .server : .client)
                var sending = try SRTPSession(
                    profile: sender.profile,
                    key: out.key,
                    salt: out.salt,
                    direction: .outbound
                )
                var receiving = try SRTPSession(
                    profile: receiver.profile,
                    key: into.key,
                    salt: into.salt,
                    direction: .inbound
                )
                var packet = SRTPPackets.rtp(sequence: 1)
                try #expect(SRTPPackets.roundTrip(&packet, from: &sending, to: &receiving))
            }
            #expect(client.clientKey != client.serverKey)
        }

        @Test func `statistics name the peer and count the datagrams`() throws {
            let pair = try DTLSPair()
            pair.run()
            let statistics = pair.client.transport.statistics
            #expect(statistics.remoteFingerprint == DTLSPair.serverCertificate?.fingerprint)
            #expect(statistics.remoteCertificate == DTLSPair.serverCertificate?.derBytes)
            // RFC 8449: both tell that they read the longest records.
            #expect(statistics.remoteRecordSizeLimit == 16_384)
            #expect(pair.server.transport.statistics.remoteRecordSizeLimit == 16_384)
            #expect(statistics.datagramsSent == pair.server.transport.statistics.datagramsReceived)
            #expect(statistics.bytesSent == pair.server.transport.statistics.bytesReceived)
            #expect(statistics.flightsRetransmitted == 0)
            #expect(statistics.srtpProfile == .aeadAes128Gcm)
            // Hello; certificate to finished.
            #expect(statistics.datagramsSent == 2)
        }

        @Test func `no handshake datagram exceeds the MTU`() throws {
            let pair = try DTLSPair(mtu: 300)
            var longest = 0
            pair.network = { _, _, datagrams in
                longest = max(longest, datagrams.map(\.count).max() ?? 0)
                return datagrams
            }
            pair.run()
            #expect(pair.areConnected)
            #expect(longest <= 300)
            #expect(pair.client.transport.statistics.datagramsSent > 2)
        }

        @Test(arguments: [false, true])
        func `a peer with an RSA certificate is accepted in each role`(isClient: Bool) throws {
            let rsa = try DTLSCertificate.generate(at: 1_700_000_000, keyKind: .rsa2048)
            let pair = try DTLSPair(clientCertificate: isClient ? rsa : nil, serverCertificate: isClient ? nil : rsa)
            pair.run()
            #expect(pair.areConnected)
            let expected = isClient ? "ECDHE-ECDSA-AES128-GCM-SHA256" : "ECDHE-RSA-AES128-GCM-SHA256"
            #expect(pair.client.connected?.cipherName == expected)
        }

        @Test func `starting twice changes nothing`() throws {
            let pair = try DTLSPair()
            pair.run()
            pair.client.transport.start(role: .server, initialTimeout: .zero, at: pair.now)
            #expect(pair.client.takeDatagrams().isEmpty)
            #expect(pair.client.transport.state == .connected)
        }

        @Test func `one certificate serves many connections`() throws {
            for _ in 0..<3 {
                let pair = try DTLSPair()
                pair.run()
                #expect(pair.areConnected)
            }
        }

        @Test func `warming up leaves nothing behind`() throws {
            DTLSTransport.warmUp()
            let pair = try DTLSPair()
            pair.run()
            #expect(pair.areConnected)
        }

        @Test func `without a path datagrams are dropped and the handshake waits`() throws {
            let pair = try DTLSPair()
            let path = pair.client.transmits.selectedPath
            pair.client.transmits.selectedPath = nil
            pair.start()
            pair.exchange()
            #expect(pair.client.transmits.droppedCount == 1)
            #expect(pair.client.transport.state == .connecting)
            pair.client.transmits.selectedPath = path
            pair.run()
            #expect(pair.areConnected)
        }
    }
}
