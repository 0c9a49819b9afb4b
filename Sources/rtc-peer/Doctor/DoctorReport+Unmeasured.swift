import PeerConnection
import STUN

extension DoctorReport {
    /// Something that could not be found out.
    struct Gap: Hashable {
        /// The member of the JSON output that is missing.
        var name: String
        /// Half a sentence.
        var reason: String
    }

    /// What of the network could not be measured, and why.
    var networkGaps: [Gap] {
        var gaps: [Gap] = []
        func add(_ name: String, _ isMissing: Bool, _ reason: String) {
            if isMissing { gaps.append(Gap(name: name, reason: reason)) }
        }
        add("nat", natKind == nil, noAnswerReason)
        add("mapping", findings?.mapping == nil, discoveryReason)
        add("filtering", findings?.filtering == nil, discoveryReason)
        add("udpBlocked", isUDPBlocked == nil, trials.isEmpty ? noServersReason : "no server answers by anything")
        add(
            "pathMTU",
            findings?.pathMTU == nil,
            findings?.mapped == nil ? noAnswerReason : "no large packet was answered"
        )
        return gaps
    }

    /// What of the machine could not be found out, and why.
    var machineGaps: [Gap] {
        guard machine.isClockKept == nil else { return [] }
        return [Gap(name: "clockKept", reason: "the kernel does not say whether anything keeps it right")]
    }

    /// Why a member is missing; nil if it is not.
    func gap(_ name: String) -> String? { (networkGaps + machineGaps).first { $0.name == name }?.reason }

    private var noServersReason: String { "no server was named: --ice-server stun:HOST" }

    /// Why no server has said how it sees this machine.
    private var noAnswerReason: String {
        guard !trials.isEmpty else { return noServersReason }
        return trials.contains { $0.transport == .udp && !$0.isExtra }
            ? "no server answers over UDP" : "no server was named by UDP: --ice-server stun:HOST"
    }

    /// Why it cannot be told how the NAT maps or filters.
    private var discoveryReason: String {
        guard let findings, findings.mapped != nil else { return noAnswerReason }
        return findings.canDiscover
            ? "the server's answers leave it open" : "the server has no second address to answer from (RFC 5780)"
    }
}
