package import SansIO

/// Says whether local addresses are used: those of an interface, or of a network.
package struct NetworkRule: Hashable, Sendable {
    package enum Subject: Hashable, Sendable {
        /// Interfaces whose names begin so, or one of just this name.
        case interface(String, isPrefix: Bool)
        case network(IPNetwork)
    }

    package let subject: Subject
    /// Whether what fits is left out.
    package let isExclusion: Bool

    /// Bytes of an interface's name. netdevice(7), IFNAMSIZ
    private static let longestName = 15

    /// Reads `eth0`, `wl*`, `192.168.1.20`, `10.0.0.0/8` or `fd00::/8`, with `!` in front for an exclusion.
    ///
    /// nil for what is neither a name that the kernel would take nor an address.
    package init?(_ text: some StringProtocol) {
        isExclusion = text.hasPrefix("!")
        let text = isExclusion ? text.dropFirst() : text[...]
        if let network = IPNetwork(text) {
            subject = .network(network)
            return
        }
        let isPrefix = text.hasSuffix("*")
        let name = isPrefix ? text.dropLast() : text
        guard isPrefix || !name.isEmpty, name.utf8.count <= Self.longestName,
            name.utf8.allSatisfy({ (0x21...0x7E).contains($0) && !"/:*!%".utf8.contains($0) })
        else { return nil }
        subject = .interface(String(name), isPrefix: isPrefix)
    }

    package func fits(_ address: LocalAddress) -> Bool {
        switch subject {
        case .network(let network): return network.contains(address.ip)
        case .interface(let name, let isPrefix):
            // A label of an address (`eth0:1`) is no interface of its own.
            let own = address.interfaceName.prefix { $0 != ":" }
            return isPrefix ? own.hasPrefix(name) : own == name
        }
    }

    /// Whether it speaks of loopback, and not of everything.
    fileprivate var namesLoopback: Bool {
        guard !isExclusion else { return false }
        switch subject {
        case .network(let network): return network.address.isLoopback
        case .interface(let name, _): return name.hasPrefix("lo")
        }
    }
}

extension NetworkRule: CustomStringConvertible {
    package var description: String {
        let mark = isExclusion ? "!" : ""
        switch subject {
        case .interface(let name, let isPrefix): return mark + name + (isPrefix ? "*" : "")
        case .network(let network): return mark + network.description
        }
    }
}

extension [NetworkRule] {
    /// Whether an address is used: it fits one of the rules that are no exclusions, if there are any, and no exclusion.
    package func permit(_ address: LocalAddress) -> Bool {
        let isIncluded = first { !$0.isExclusion } == nil || contains { !$0.isExclusion && $0.fits(address) }
        return isIncluded && !contains { $0.isExclusion && $0.fits(address) }
    }

    /// Whether loopback was asked for.
    var nameLoopback: Bool { contains(where: \.namesLoopback) }
}
