import Glibc
import ICE
import SansIO
import Testing

/// Thousands of pairs of agents in all kinds of networks, each drawn from a seed that is named when it fails.
///
/// `ICE_PAIRINGS=20000` runs more of them, `ICE_SEED=17` one alone.
@Suite struct ICEPairings {
    /// What one seed draws.
    private struct Setting: CustomStringConvertible {
        enum Gateway: CaseIterable { case none, portRestricted, symmetric }

        let seed: UInt64
        var gateways: (Gateway, Gateway)
        var hostCounts: (Int, Int)
        var roles: (ICERole, ICERole)
        var delay: Duration
        var jitter: Duration
        var loss: Double
        var duplication: Double
        var answerDelay: Duration
        var signallingDelay: Duration
        var hasServer: Bool

        init(seed: UInt64) {
            self.seed = seed
            let random = RandomSource(seed: seed &* 0x9E37_79B9_7F4A_7C15 | 1)
            func below(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
            gateways = (Gateway.allCases[below(3)], Gateway.allCases[below(3)])
            hostCounts = (1 + below(3), 1 + below(3))
            // Each second pair is in conflict.
            let roles: [(ICERole, ICERole)] = [
                (.controlling, .controlled), (.controlled, .controlling), (.controlling, .controlling),
                (.controlled, .controlled),
            ]
            self.roles = roles[below(4)]
            delay = .milliseconds(1 + below(150))
            jitter = below(2) == 0 ? .zero : .milliseconds(below(100))
            loss = below(2) == 0 ? 0 : Double(below(25)) / 100
            duplication = below(4) == 0 ? 0.1 : 0
            answerDelay = .milliseconds(below(400))
            signallingDelay = .milliseconds(1 + below(below(3) == 0 ? 3_000 : 200))
            // Without one, an address behind a NAT is known to nobody, but shows itself to a peer with a public one.
            hasServer = gateways.0 != .none && gateways.1 != .none || below(2) == 0
        }

        /// Two symmetric NATs, or one and a port-restricted one, need a relay.
        var isPossible: Bool {
            gateways.0 == .none || gateways.1 == .none || gateways == (.portRestricted, .portRestricted)
        }

        var description: String {
            "ICE_SEED=\(seed): \(gateways) \(hostCounts) \(roles) delay \(delay) jitter \(jitter) loss \(loss)"
        }
    }

    /// What went wrong, or nil.
    private func run(_ setting: Setting) -> (problem: String?, time: Duration?) {
        let network = ICEVirtualNetwork(seed: setting.seed)
        network.delay = setting.delay
        network.jitter = setting.jitter
        network.loss = setting.loss
        network.duplication = setting.duplication
        network.signallingDelay = setting.signallingDelay
        guard let server = TransportAddress("203.0.113.1", port: 3478) else { return ("no address", nil) }
        network.servers = [server]
        // Each side's private network is its own.
        network.passes = { source, destination, _ in
            let (from, to) = (source.ip.low >> 16, destination.ip.low >> 16)
            return from >> 8 != 10 || to >> 8 != 10 || from == to
        }
        func hosts(_ gateway: Setting.Gateway, _ count: Int, _ side: Int) -> ([String], ICETestNAT?) {
            switch gateway {
            case .none: ((1...count).map { "198.51.100.\(side * 100 + $0)" }, nil)
            case .portRestricted:
                ((1...count).map { "10.\(side).0.\($0)" }, ICETestNAT("192.0.2.\(side + 1)"))
            case .symmetric:
                ((1...count).map { "10.\(side).0.\($0)" }, ICETestNAT("192.0.2.\(side + 1)", isSymmetric: true))
            }
        }
        let first = hosts(setting.gateways.0, setting.hostCounts.0, 0)
        let second = hosts(setting.gateways.1, setting.hostCounts.1, 1)
        let call = ICETestCall(network, first.0, second.0, nats: (first.1, second.1), roles: setting.roles)
        call.signal(answerDelay: setting.answerDelay, servers: setting.hasServer ? [server] : [])
        let connected = network.run(.seconds(60)) { call.isConnected }
        guard setting.isPossible else {
            return (connected == nil ? nil : "connected, which cannot be", nil)
        }
        guard let connected else { return ("not connected after a minute", nil) }
        let settled = network.run(.seconds(60)) {
            call.isNominated && call.offerer.agent.role != call.answerer.agent.role
                && isMirrored(call.offerer, call.answerer) && isMirrored(call.answerer, call.offerer)
        }
        guard settled != nil else { return ("never agreed on one pair", connected) }
        return (nil, connected)
    }

    /// Whether what one sends arrives at the socket from which the other sends.
    private func isMirrored(_ peer: ICETestPeer, _ other: ICETestPeer) -> Bool {
        guard let path = peer.agent.selectedPath, let source = peer.sockets[path.port],
            let back = other.agent.selectedPath, let target = other.sockets[back.port]
        else { return false }
        var seen = source
        if let nat = peer.nat, !nat.isInside(path.remote.ip) { seen = nat.translate(source, to: path.remote) }
        let reached = other.nat.flatMap { $0.publicIP == path.remote.ip ? $0.accept(from: seen, to: path.remote) : nil }
        return (reached ?? path.remote) == target && back.remote == seen
    }

    @Test func `Every pair that can connect does, and agrees`() {
        let seeds = number("ICE_SEED").map { [$0] } ?? Array(1...max(1, number("ICE_PAIRINGS") ?? 2_000))
        var times: [Duration] = []
        var failureCount = 0
        for seed in seeds {
            let setting = Setting(seed: seed)
            let (problem, time) = run(setting)
            if let time { times.append(time) }
            if let problem {
                failureCount += 1
                Issue.record("\(setting): \(problem)")
                if failureCount == 20 { break }
            }
        }
        times.sort()
        let median = times.isEmpty ? .zero : times[times.count / 2]
        print("\(seeds.count) pairings, \(times.count) connected: p50 \(median), worst \(times.last ?? .zero)")
    }

    /// From the environment.
    private func number(_ name: String) -> UInt64? {
        guard let text = unsafe getenv(name) else { return nil }
        return unsafe UInt64(String(cString: text))
    }
}
