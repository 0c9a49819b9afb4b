import ArgumentParser
import PeerConnection

/// Options of the paths that connections of this machine may take.
struct PathOptions: ParsableArguments {
    @Option(
        name: .customLong("interface"),
        help: ArgumentHelp(
            "Use no other than this interface (eth0, wl*), address or network (192.168.1.0/24); with ! in front, leave it out. May be repeated. Example: --interface '!docker*'",
            valueName: "NAME"
        ),
        transform: { try RTCNetworkRule($0) }
    )
    var networkRules: [RTCNetworkRule] = []

    @Option(
        help: ArgumentHelp(
            "Use only these UDP and TCP ports of this machine, as a firewall may want it; some dozen, since each address and each connection takes its own. Example: --port-range 50000-50100",
            valueName: "FIRST-LAST"
        )
    )
    var portRange: PortRange?

    @Flag(
        help:
            "Go through TURN servers only: the other side does not learn this machine's addresses. Example: --relay-only"
    )
    var relayOnly = false

    @Flag(
        help:
            "Tell the other side names (….local) in place of this machine's addresses; only the same network can look them up, others need a STUN or TURN server. Example: --hide-addresses"
    )
    var hideAddresses = false

    /// What is wrong with them on this machine as it is now; the network may change.
    var advice: String? {
        guard !networkRules.isEmpty else { return nil }
        let addresses = NetworkDiagnosis.addresses(rules: networkRules)
        guard addresses.allSatisfy({ !$0.isUsed }) else { return nil }
        return Self.nothingFits
    }

    /// Said where `--interface` leaves nothing.
    static let nothingFits = "None of this machine's addresses fits --interface: nobody can be reached."

    /// How connections are set up with them and with servers.
    func configuration(with ice: ICEOptions) -> RTCConfiguration {
        var configuration = RTCConfiguration()
        configuration.iceServers = ice.servers
        configuration.iceServerAuthorities = ice.turnAuthorities
        configuration.iceTransportPolicy = relayOnly ? .relay : .all
        configuration.hidesHostAddresses = hideAddresses
        configuration.networkRules = networkRules
        configuration.portRange = portRange?.range
        configuration.tcpCandidatePolicy = .enabled
        return configuration
    }
}
