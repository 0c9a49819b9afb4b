import SansIO
import Testing
import UDPSockets

/// A machine with more addresses than candidates are gathered from, as one with many bridges of containers.
@Suite struct ManyAddresses {
    @Test func thoseOfDefaultRoutesComeFirstThenOneOfEachNetwork() throws {
        let others = [
            ("br1", "172.18.0.1"), ("br0", "fd00::1"), ("eth0", "192.0.2.7"), ("eth0", "192.0.2.8"),
            ("eth0", "2001:db8::7"),
        ]
        let texts = (1...20).map { ("br0", "172.17.0.\($0)") } + others
        let addresses = try texts.map { LocalAddress(ip: try #require(IPAddress($0.1)), interfaceName: $0.0) }
        let routed = try ["192.0.2.8", "2001:db8::7"].map { try #require(IPAddress($0)) }
        let ranked = NetworkInterfaces.ranked(addresses, routed: routed)
        #expect(Set(ranked) == Set(addresses) && ranked.count == addresses.count)
        #expect(
            ranked.prefix(7).map(\.ip.description) == [
                "192.0.2.8", "2001:db8::7", "172.17.0.1", "172.18.0.1", "fd00::1", "192.0.2.7", "172.17.0.2",
            ]
        )
    }
}
