internal import UDPSockets

/// Says which of this machine's addresses candidates are gathered from: those of an interface, or of a network.
///
///     configuration.networkRules = [try RTCNetworkRule("eth0"), try RTCNetworkRule("!10.0.0.0/8")]
public struct RTCNetworkRule: Hashable, Sendable {
    let rule: NetworkRule

    /// Reads a rule.
    ///
    /// - Parameter text: an interface (`eth0`), interfaces whose names begin alike (`wl*`), an address (`192.168.1.20`) or
    ///   a network (`10.0.0.0/8`, `fd00::/8`); with `!` in front, what fits is left out.
    /// - Throws: `SyntaxError` for what is none of these.
    public init(_ text: String) throws(RTCError) {
        guard let rule = NetworkRule(text) else {
            throw RTCError(
                .syntaxError,
                "\(text) is neither an interface (eth0, wl*) nor an address or network (192.168.1.20, 10.0.0.0/8)"
            )
        }
        self.rule = rule
    }
}

extension RTCNetworkRule: CustomStringConvertible {
    /// As it was read.
    public var description: String { rule.description }
}
