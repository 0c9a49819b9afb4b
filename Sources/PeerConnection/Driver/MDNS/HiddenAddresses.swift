internal import ICE
internal import Logging
internal import MDNS
internal import PeerEngine
internal import SansIO

/// The names that stand for one connection's host addresses, and what else of its candidates would betray them.
///
/// Names are of this connection alone: nobody can tell by them that two connections come from one machine.
/// draft-ietf-mmusic-mdns-ice-candidates §3.1
struct HiddenAddresses {
    private var names: [IPAddress: String] = [:]
    private var foundations: [String: Int] = [:]

    var publishedNames: [DNSName] { names.values.compactMap { DNSName($0) } }

    /// The name of an address and whether it is new, to be published.
    mutating func name(of address: IPAddress, random: RandomSource) -> (name: String, isNew: Bool) {
        if let name = names[address] { return (name, false) }
        let name = Self.uuid(random) + ".local"
        names[address] = name
        return (name, true)
    }

    /// A foundation that tells equality only: ICE's own are checksums of addresses, from which those can be found.
    mutating func foundation(_ own: String) -> String {
        if let number = foundations[own] { return String(number) }
        foundations[own] = foundations.count + 1
        return String(foundations.count)
    }

    /// A UUID of version 4 (RFC 9562 §5.4).
    static func uuid(_ random: RandomSource) -> String {
        let high = random.next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
        let low = random.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        var text = ""
        for (index, nibble) in (hexadecimal(high) + hexadecimal(low)).enumerated() {
            if [8, 12, 16, 20].contains(index) { text += "-" }
            text.append(nibble)
        }
        return text
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}

extension PeerDriver {
    /// A candidate as the peer is told it.
    func signalled(_ candidate: ICECandidate) -> String {
        var candidate = candidate
        if configuration.hidesHostAddresses || configuration.iceTransportPolicy == .relay {
            candidate.foundation = hiddenAddresses.foundation(candidate.foundation)
        }
        guard configuration.hidesHostAddresses else { return candidate.attributeValue }
        guard candidate.kind == .host else {
            // What it was mapped from is a host's address, or without a NAT the same.
            if let related = candidate.relatedAddress {
                candidate.relatedAddress = TransportAddress(related.ip.isIPv4 ? .anyIPv4 : .anyIPv6, port: 9)
            }
            return candidate.attributeValue
        }
        let (text, isNew) = hiddenAddresses.name(of: candidate.address.ip, random: RandomSource())
        if isNew, let name = DNSName(text) {
            log.debug("this side answers for \(text), which is \(candidate.address.ip)")
            (configuration.mdns ?? .shared).publish(name, address: candidate.address.ip)
        }
        return candidate.attributeValue(host: text)
    }
}
