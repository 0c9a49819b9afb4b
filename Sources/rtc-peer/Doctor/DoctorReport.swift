import ArgumentParser
import PeerConnection
import STUN
import SansIO

/// What `rtc-peer doctor` has found.
struct DoctorReport {
    /// One server by one transport.
    struct ServerTrial: Hashable {
        enum Transport: String { case udp, tcp, tls }

        var url: String
        var isRelay: Bool
        var transport: Transport
        /// Whether it was tried without having been named, beside one that was.
        var isExtra = false
        /// From the question to the answer of a STUN server, to the relayed address of a TURN server; nil if it fails.
        var time: Duration?
        /// Why it fails.
        var problem: String?
        /// The address that it sees this machine under, or relays at.
        var address: String?

        var works: Bool { time != nil }
        /// Whether the server answers, and wants nothing of this user (RFC 8489 §14.8).
        var isUnauthorized = false
    }

    enum NATKind: String {
        case none
        /// No NAT, and a firewall that lets only answers in.
        case firewall
        case fullCone = "full cone"
        case restrictedCone = "restricted cone"
        case portRestrictedCone = "port-restricted cone"
        case cone
        case symmetric
        /// There is one, and its kind could not be told.
        case some = "a NAT of unknown kind"
    }

    var addresses: [NetworkDiagnosis.Address] = []
    /// How many more there are, which make no candidates.
    var leftOutAddressCount = 0
    var trials: [ServerTrial] = []
    /// The way to the STUN server that told most; nil without servers.
    var findings: NATFindings?
    var hasMulticastDNS = false
    /// How the screen would be captured; nil if nobody looked.
    var screen: ScreenWay?
    var machine = MachineFacts(container: nil, isClockKept: nil, secondsSince1970: 0)

    /// nil if no server answered over UDP.
    var natKind: NATKind? {
        guard let findings, let mapped = findings.mapped else { return nil }
        if addresses.contains(where: { $0.ip == mapped.ip }) {
            switch findings.filtering {
            case nil, .endpointIndependent: return NATKind.none
            default: return .firewall
            }
        }
        switch (findings.mapping, findings.filtering) {
        case (nil, _): return .some
        case (.endpointIndependent, .endpointIndependent): return .fullCone
        case (.endpointIndependent, .addressDependent): return .restrictedCone
        case (.endpointIndependent, .addressAndPortDependent), (.endpointIndependent, .dependent):
            return .portRestrictedCone
        case (.endpointIndependent, nil): return .cone
        default: return .symmetric
        }
    }

    /// Whether UDP gets out; nil if that cannot be told: no server was asked, or none answers by anything.
    var isUDPBlocked: Bool? {
        let datagrams = trials.filter { $0.transport == .udp }
        if datagrams.contains(where: \.works) { return false }
        // A relay that refuses by UDP answers by UDP.
        if datagrams.contains(where: \.isUnauthorized) { return false }
        guard !datagrams.isEmpty, trials.contains(where: { $0.transport != .udp && $0.works }) else { return nil }
        return true
    }

    // MARK: Advice

    /// What to fix, the gravest first, two things at most; empty if nothing is.
    var advice: [String] { Array(complaints.prefix(2)) }

    /// What the command ends with: failure if there is something to fix.
    var exitCode: ExitCode { complaints.isEmpty ? .success : .failure }

    private var complaints: [String] {
        var found: [String] = []
        let named = trials.filter { !$0.isExtra }
        if !addresses.isEmpty, addresses.allSatisfy({ !$0.isUsed }) {
            return [PathOptions.nothingFits]
        }
        if addresses.allSatisfy({ $0.ip.isLoopback }) {
            return ["This machine has no network: no interface that is up has an address besides loopback."]
        }
        if named.isEmpty {
            found.append("Name a STUN or TURN server, as --ice-server stun:HOST: else only this network is reached.")
        } else if !trials.contains(where: { $0.works || $0.isUnauthorized }) {
            found.append("No server answers by any transport: see if their names are right and no firewall is between.")
        }
        let relayWorks = trials.contains { $0.isRelay && $0.works }
        if isUDPBlocked == true {
            let way = trials.first { $0.isRelay && $0.works && $0.transport != .udp }
            found.append(
                "UDP is blocked: let UDP out"
                    + (way.map { ", or rely on \($0.url), which works and is slower." }
                        ?? ", or name a TURN server by TCP or TLS, as turns:HOST:443.")
            )
        } else if natKind == .symmetric, !relayWorks {
            found.append(
                "The NAT is symmetric: many others are out of direct reach. Name a working TURN server, as turn:HOST."
            )
        }
        if named.contains(where: \.isUnauthorized) {
            found.append("A TURN server refuses the user: see if --turn-user and --turn-password are right.")
        }
        for trial in named where !trial.works && !isSilentStream(trial) && trials.contains(where: \.works) {
            if trial.isUnauthorized { continue }
            if isUDPBlocked == true, trial.transport == .udp { continue }
            found.append("\(trial.url) does not work (\(trial.problem ?? "no answer")): leave it out or put it right.")
        }
        if let size = findings?.pathMTU, size < 1_280 || size < 1_500 && hasSilentStream {
            found.append(
                """
                Packets of more than \(size) bytes vanish without a word, which stops TCP and TLS: set this machine's \
                MTU to \(size).
                """
            )
        }
        if !hasMulticastDNS {
            found.append(
                machine.container == nil
                    ? "Multicast DNS does not work: browsers here hide their addresses by it. Allow UDP port 5353."
                    : "Multicast DNS does not work: give the container the host's network (--network host)."
            )
        }
        if machine.secondsSince1970 < Self.oldestPresent {
            found.append("The clock is years behind: certificates look as if they were not valid yet. Set it.")
        }
        return found
    }

    /// Whether a stream was opened, or seemed to be, and brought nothing, while packets that it needs vanish.
    private func isSilentStream(_ trial: ServerTrial) -> Bool {
        guard let size = findings?.pathMTU, size < 1_500 else { return false }
        return trial.transport != .udp && !trial.works && trial.problem?.contains("does not answer") == true
    }

    private var hasSilentStream: Bool { trials.contains { !$0.isExtra && isSilentStream($0) } }

    /// The beginning of 2025: no clock that is right says an earlier time.
    private static let oldestPresent = 1_735_689_600
}
