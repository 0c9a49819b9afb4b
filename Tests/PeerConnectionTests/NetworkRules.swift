import PeerConnection
import SansIO
import Testing
import TimeSharing
import UDPSockets

/// Rules that say which of the machine's addresses are used.
@Suite(.realTime) struct NetworkRules {
    private func rules(_ texts: String...) throws -> [NetworkRule] { try texts.map { try #require(NetworkRule($0)) } }

    private func address(_ interface: String, _ ip: String) throws -> LocalAddress {
        LocalAddress(ip: try #require(IPAddress(ip)), interfaceName: interface)
    }

    @Test func oneThatFitsIsEnoughAndAnExclusionIsStronger() throws {
        let (cable, label) = (try address("eth0", "192.0.2.7"), try address("eth0:1", "10.1.2.3"))
        let (bridge, wireless) = (try address("docker0", "172.17.0.1"), try address("wlp3s0", "2001:db8::7"))
        func permitted(_ rules: [NetworkRule]) -> [LocalAddress] {
            [cable, label, bridge, wireless].filter(rules.permit)
        }
        #expect(permitted([]) == [cable, label, bridge, wireless])
        #expect(try permitted(rules("eth0")) == [cable, label])
        #expect(try permitted(rules("eth0", "wl*")) == [cable, label, wireless])
        #expect(try permitted(rules("!docker*", "!10.0.0.0/8")) == [cable, wireless])
        #expect(try permitted(rules("eth0", "!10.0.0.0/8")) == [cable])
        #expect(try permitted(rules("2001:db8::/32")) == [wireless])
        #expect(try permitted(rules("192.0.2.7", "docker0")) == [cable, bridge])
        #expect(try permitted(rules("*", "!eth0")) == [bridge, wireless])
        #expect(try permitted(rules("eth")) == [])
    }

    @Test(arguments: [
        "", "!", "eth0/24", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "an interface", "a-name-of-16-byte", "w*n",
        "!!eth0", "eth0\n", "ethø", "fe80::1%eth0", "10.0.0.1:80", "\u{0}",
    ])
    func whatIsNeitherInterfaceNorNetworkIsRefused(text: String) {
        let error = #expect(throws: RTCError.self) { _ = try RTCNetworkRule(text) }
        #expect(error?.name == .syntaxError)
    }

    @Test func textIsKept() throws {
        for text in ["eth0", "!wl*", "10.0.0.0/8", "!fd00::/8", "*"] {
            #expect(try RTCNetworkRule(text).description == text)
        }
        #expect(try RTCNetworkRule("192.0.2.7").description == "192.0.2.7/32")
    }

    /// Candidates of a connection's description, and what it told of servers and addresses.
    private func gather(_ configuration: RTCConfiguration) async throws -> (sdp: String, errors: [RTCError]) {
        let connection = try RTCPeerConnection(configuration: configuration)
        defer { connection.close() }
        let events = connection.events
        _ = try connection.createDataChannel("x")
        try await connection.setLocalDescription()
        var errors: [RTCError] = []
        for await event in events {
            if case .iceCandidateError(let event) = event { errors.append(event.error) }
            if case .iceGatheringStateChange(.complete) = event { break }
        }
        return (try #require(connection.localDescription).sdp, errors)
    }

    @Test(.timeLimit(.minutes(10))) func onlyPermittedAddressesMakeCandidates() async throws {
        var configuration = RTCConfiguration()
        configuration.networkRules = [try RTCNetworkRule("lo"), try RTCNetworkRule("!::1")]
        configuration.portRange = 40_000...49_999
        let (sdp, errors) = try await gather(configuration)
        let candidates = sdp.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("a=candidate:") }
            .map { $0.split(separator: " ") }
        #expect(candidates.contains { $0[2] == "udp" })
        #expect(candidates.allSatisfy { $0[4] == "127.0.0.1" })
        #expect(candidates.allSatisfy { (40_000...49_999).contains(Int($0[5]) ?? 0) || $0[5] == "9" })
        #expect(errors.isEmpty)
    }

    @Test(.timeLimit(.minutes(10))) func aSharedPortsAddressesAreChosenFromToo() async throws {
        let port = try await SharedUDPPort(includesLoopback: true)
        var configuration = RTCConfiguration()
        configuration.sharedUDPPort = port
        configuration.networkRules = [try RTCNetworkRule("127.0.0.0/8")]
        let (sdp, _) = try await gather(configuration)
        let addresses = sdp.split(whereSeparator: \.isNewline).filter { $0.contains(" udp ") }
            .map { $0.split(separator: " ")[4] }
        #expect(addresses == ["127.0.0.1"])
        await port.close()
    }

    @Test(.timeLimit(.minutes(10))) func rulesThatNothingFitsAreTold() async throws {
        var configuration = RTCConfiguration()
        configuration.networkRules = [try RTCNetworkRule("nowhere7")]
        let (sdp, errors) = try await gather(configuration)
        #expect(!sdp.contains("a=candidate:"))
        #expect(errors.map(\.name) == [.networkError])
        #expect(errors.first?.message.contains("nowhere7") == true)
    }
}
