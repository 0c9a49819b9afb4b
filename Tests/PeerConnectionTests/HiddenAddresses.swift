import MDNS
import PeerConnection
import SansIO
import Testing
import TimeSharing

/// Names of multicast DNS on real sockets, on the loopback interface only.
@Suite(.realTime) struct HiddenAddresses {
    private static func configuration(hides: Bool) -> RTCConfiguration {
        var configuration = ConnectedPair.configuration()
        configuration.hidesHostAddresses = hides
        configuration.mdns = MDNSService(onlyLoopback: true)
        return configuration
    }

    private func addresses(of name: DNSName, from service: MDNSService) async -> [IPAddress] {
        await withCheckedContinuation { continuation in
            service.resolve(name) { continuation.resume(returning: $0) }
        }
    }

    @Test(.timeLimit(.minutes(10))) func oneServiceFindsWhatAnotherPublishes() async throws {
        let (publisher, asker) = (MDNSService(onlyLoopback: true), MDNSService(onlyLoopback: true))
        var names: [DNSName] = []
        for text in ["192.0.2.7", "2001:db8::7"] {
            let name = try #require(DNSName("\(UInt64.random(in: .min ... .max)).local"))
            let address = try #require(IPAddress(text))
            publisher.publish(name, address: address)
            #expect(await addresses(of: name, from: asker) == [address])
            // One that asks itself, and two that ask for the same at once.
            #expect(await addresses(of: name, from: publisher) == [address])
            async let first = addresses(of: name, from: asker)
            async let second = addresses(of: name, from: asker)
            #expect(await [first, second] == [[address], [address]])
            publisher.withdraw([name])
            names.append(name)
        }
        // What takes a name back may come after a question that follows it.
        let (withdrawn, other) = (names[0], names[1])
        while true {
            async let first = addresses(of: withdrawn, from: asker)
            async let second = addresses(of: other, from: asker)
            if await [first, second] == [[], []] { break }
            try Task.checkCancellation()
        }
    }

    @Test(.timeLimit(.minutes(10))) func twoThatHideTheirAddressesConnectByNames() async throws {
        let pair = try ConnectedPair(Self.configuration(hides: true), Self.configuration(hides: true))
        _ = try pair.first.createDataChannel("x")
        try await pair.negotiate()
        await pair.first.wait(for: .connected)
        await pair.second.wait(for: .connected)
        var resolved = 0
        for connection in [pair.first, pair.second] {
            let sdp = try #require(connection.localDescription).sdp
            let lines = sdp.split(separator: "\r\n").filter { $0.hasPrefix("a=candidate:") }
            #expect(!lines.isEmpty)
            for line in lines {
                #expect(line.contains(/^a=candidate:\d 1 (udp|tcp) \d+ \S+ \d+ typ host/))
                #expect(line.contains(/\s[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local\s/))
                #expect(!line.contains("127.0.0.1"))
            }
            resolved += await connection.getStats().transport.candidateNamesResolved
        }
        // The other one's check may come before it has found its name.
        #expect(resolved > 0)
    }

    @Test(.timeLimit(.minutes(10))) func aNameThatNobodyAnswersForCostsItsCandidateOnly() async throws {
        let pair = try ConnectedPair(Self.configuration(hides: false))
        _ = try pair.first.createDataChannel("x")
        try await pair.negotiate()
        let name = "nobody-\(UInt64.random(in: .min ... .max)).local"
        let line = "candidate:9 1 udp 2122260223 \(name) 5000 typ host"
        try await pair.first.addIceCandidate(RTCIceCandidate(candidate: line, sdpMLineIndex: 0))
        await pair.first.wait(for: .connected)
        while await pair.first.getStats().transport.candidateNamesUnresolved == 0 { await Task.yield() }
        #expect(pair.first.connectionState == .connected)
        #expect(await pair.first.getStats().transport.candidateNamesResolved == 0)
    }

    @Test func onlySystemsThatKnowMulticastDNSAreAsked() {
        for (line, knows) in [
            ("hosts: files dns", false), ("hosts:\tfiles mdns4_minimal [NOTFOUND=return] dns", true),
            ("hosts: files resolve [!UNAVAIL=return] dns", true), ("hosts: files dns # mdns4", false),
            ("#hosts: mdns", false), ("networks: mdns", false), ("", false),
        ] {
            #expect(NameServiceSwitch.knowsLocalNames("passwd: files\n\(line)\nservices: db") == knows, "\(line)")
        }
    }
}
