package import SansIO

/// Asks the local link for the addresses of names.
///
/// A name is asked for at once and after 0.1, 0.4 and 1.4 s, A and AAAA in one message, on all ports; after 3 s without
/// an answer it has failed. The first message asks for an answer by unicast, which spares others (RFC 6762 §5.4); the
/// later ones do not, since such an answer may end in another program that shares port 5353 (§15.1).
///
/// Answers count for names that are being asked for only; nothing is remembered. Whether a sender is on the local link
/// is for the owner to check (`LocalLinks`).
///
/// RFC 6762 §5
package final class MDNSResolver {
    package enum Event: Hashable, Sendable {
        /// At least one address, at most `addressLimit`.
        case resolved(DNSName, [IPAddress])
        case failed(DNSName)
    }

    package struct Statistics: Hashable, Sendable {
        package var resolved = 0
        package var failed = 0
        /// Names that were not asked for since too many others were.
        package var refused = 0
        package var queriesSent = 0
        /// Responses in which nothing was asked for.
        package var unasked = 0
        /// Responses from another port than 5353.
        package var strange = 0
    }

    private struct Query {
        var transmissionCount = 0
        var nextTransmission: Instant?
        var end: Instant
        /// Of messages from one-shot ports, which are answered with it.
        let id: UInt16
    }

    package private(set) var statistics = Statistics()
    private var ports: [PortID: MDNSPortKind] = [:]
    private var queries: [DNSName: Query] = [:]
    private var transmits = RingQueue<MDNSTransmit>()
    private var events = RingQueue<Event>()
    private let random: RandomSource

    package init(random: RandomSource) { self.random = random }

    // MARK: Commands

    /// The ports to ask on from now on.
    package func setPorts(_ ports: [PortID: MDNSPortKind]) { self.ports = ports }

    /// Asks for a name's addresses, unless it is being asked for.
    ///
    /// One event for it comes in any case, at once if too many names are being asked for or there is no port.
    package func resolve(_ name: DNSName, at now: Instant) {
        guard queries[name] == nil else { return }
        guard queries.count < Self.nameLimit else {
            statistics.refused += 1
            return events.append(.failed(name))
        }
        guard !ports.isEmpty else {
            statistics.failed += 1
            return events.append(.failed(name))
        }
        queries[name] = Query(end: now + Self.timeout, id: UInt16(truncatingIfNeeded: random.next()))
        transmit(name, at: now)
    }

    // MARK: Inputs

    /// Takes a message from the local link.
    ///
    /// RFC 6762 §6: responses "where the source UDP port is not 5353" are to be ignored: any program may send from another.
    package func receive(_ message: DNSMessage, from remote: TransportAddress, on port: PortID, at now: Instant) {
        guard message.isResponse, let kind = ports[port] else { return }
        guard remote.port == MDNS.port else {
            statistics.strange += 1
            return
        }
        var found: [DNSName: [IPAddress]] = [:]
        for record in message.answers + message.additionals {
            guard record.timeToLive > 0, case .address(let ip) = record.content, Self.isUsable(ip),
                let query = queries[record.name], kind == .member || message.id == query.id
            else { continue }
            var addresses = found[record.name] ?? []
            guard addresses.count < Self.addressLimit, !addresses.contains(ip) else { continue }
            addresses.append(ip)
            found[record.name] = addresses
        }
        if found.isEmpty { statistics.unasked += 1 }
        for (name, addresses) in found {
            queries[name] = nil
            statistics.resolved += 1
            events.append(.resolved(name, addresses))
        }
    }

    package func handleTimeout(at now: Instant) {
        for (name, query) in queries {
            if query.end <= now {
                queries[name] = nil
                statistics.failed += 1
                events.append(.failed(name))
            } else if let next = query.nextTransmission, next <= now {
                transmit(name, at: now)
            }
        }
    }

    // MARK: Outputs

    package func nextTransmit() -> MDNSTransmit? { transmits.popFirst() }
    package func nextEvent() -> Event? { events.popFirst() }

    package var nextDeadline: Deadline? {
        queries.values.map { min($0.end, $0.nextTransmission ?? $0.end) }.min().map { Deadline($0, "mDNS query") }
    }

    /// Whether names are being asked for.
    package var isBusy: Bool { !queries.isEmpty }

    // MARK: Private

    private func transmit(_ name: DNSName, at now: Instant) {
        guard var query = queries[name] else { return }
        let isFirst = query.transmissionCount == 0
        query.nextTransmission =
            query.transmissionCount < Self.intervals.count ? now + Self.intervals[query.transmissionCount] : nil
        query.transmissionCount += 1
        queries[name] = query
        for (port, kind) in ports.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            var message = DNSMessage(isResponse: false)
            // RFC 6762 §18.1: zero in what goes to the group from port 5353.
            message.id = kind == .oneShot ? query.id : 0
            message.questions = [.a, .aaaa].map { type in
                .init(name: name, type: type, wantsUnicast: kind == .member && isFirst)
            }
            statistics.queriesSent += 1
            transmits.append(MDNSTransmit(destination: .group, port: port, bytes: message.bytes))
        }
    }

    /// A link-local address of IPv6 means nothing without its interface, and no socket here has one.
    private static func isUsable(_ ip: IPAddress) -> Bool {
        !ip.isUnspecified && !ip.isMulticast && (ip.isIPv4 || !ip.isLinkLocal)
    }

    /// Times between transmissions.
    ///
    /// RFC 6762 §5.2 wants at least a second between the first two of a continuing query; a call that waits for a lost
    /// datagram would be felt, and these queries end.
    package static let intervals: [Duration] = [.milliseconds(100), .milliseconds(300), .seconds(1)]
    package static let timeout = Duration.seconds(3)
    /// Names that are asked for at the same time.
    package static let nameLimit = 64
    /// Addresses that are taken from one answer.
    package static let addressLimit = 8
}
