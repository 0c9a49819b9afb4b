import DTLS
import SansIO
import Testing

extension VirtualTime {
    @Suite struct DTLSProfiles {
        static func subset(_ bits: Int) -> [SRTPProfileID] {
            SRTPProfileID.preferred.enumerated().filter { bits >> $0.offset & 1 == 1 }.map(\.element)
        }

        @Test(arguments: 0..<8)
        func `the best common profile of every two sets is chosen`(clientBits: Int) throws {
            for serverBits in 0..<8 {
                let clientProfiles = Self.subset(clientBits)
                let serverProfiles = Self.subset(serverBits)
                let pair = try DTLSPair(clientProfiles: clientProfiles, serverProfiles: serverProfiles)
                pair.run()
                #expect(pair.areConnected)
                let expected = serverProfiles.first { clientProfiles.contains($0) }
                #expect(pair.client.connected?.srtpProfile == expected)
                #expect(pair.server.connected?.srtpProfile == expected)
                #expect(pair.client.connected?.keyingMaterial == pair.server.connected?.keyingMaterial)
                if let material = pair.client.connected?.keyingMaterial {
                    #expect(material.clientKey.count == material.profile.keyByteCount)
                    #expect(material.serverSalt.count == material.profile.saltByteCount)
                }
            }
        }

        @Test func `the server's order decides`() throws {
            let pair = try DTLSPair(
                clientProfiles: [.aes128CmSha1_80, .aeadAes128Gcm],
                serverProfiles: [.aeadAes128Gcm, .aes128CmSha1_80]
            )
            pair.run()
            #expect(pair.client.connected?.srtpProfile == .aeadAes128Gcm)
        }

        @Test func `without a common profile data still flows`() throws {
            let pair = try DTLSPair(clientProfiles: [.aeadAes256Gcm], serverProfiles: [.aes128CmSha1_80])
            pair.run()
            #expect(pair.client.connected != nil)
            #expect(pair.client.connected?.keyingMaterial == nil)
            try pair.client.send([3])
            pair.exchange()
            #expect(pair.server.messages == [[3]])
        }
    }
}
