package import SansIO

/// Answers for names of this process: each stands for one address.
///
/// Questions for a name's address are answered with it, those for the other family's with the fact that there is none
/// (NSEC); a farewell takes it back. Who is not on the local link must be kept out by the owner (`LocalLinks`).
///
/// Deviates from RFC 6762 §8.3, which wants new names announced: nobody can know a random name, and an announcement would
/// keep the first answer to the group back for a second (§6).
///
/// RFC 6762 §6, §10.1
package final class MDNSResponder {
    package struct Statistics: Hashable, Sendable {
        package var answered = 0
        /// Answers that were not given since too many were.
        package var limited = 0
        /// Names that were not published since too many are.
        package var refused = 0
    }

    private struct Publication {
        let address: IPAddress
        /// When its record was last sent to the group, by port.
        var lastMulticast: [PortID: Instant] = [:]
        /// When an answer to the group is due that came too early after the last one.
        var dueMulticast: [PortID: Instant] = [:]
    }

    package private(set) var statistics = Statistics()
    private var ports: Set<PortID> = []
    private var publications: [DNSName: Publication] = [:]
    private var transmits = RingQueue<MDNSTransmit>()
    /// Unicast answers that may be given now, and since when that is known.
    private var allowance = MDNSResponder.burstLimit
    private var allowanceInstant: Instant?

    package init() {}

    // MARK: Commands

    /// The ports that are members of the group from now on.
    package func setPorts(_ ports: Set<PortID>) {
        self.ports = ports
        for (name, var publication) in publications {
            publication.lastMulticast = publication.lastMulticast.filter { ports.contains($0.key) }
            publication.dueMulticast = publication.dueMulticast.filter { ports.contains($0.key) }
            publications[name] = publication
        }
    }

    /// Answers for a name from now on.
    ///
    /// - Returns: whether there was room for it.
    package func publish(_ name: DNSName, address: IPAddress) -> Bool {
        guard publications[name] == nil else { return publications[name]?.address == address }
        guard publications.count < Self.nameLimit else {
            statistics.refused += 1
            return false
        }
        publications[name] = Publication(address: address)
        return true
    }

    /// Answers no more for a name, and says so.
    package func withdraw(_ name: DNSName) {
        guard let publication = publications.removeValue(forKey: name) else { return }
        var message = DNSMessage(isResponse: true)
        message.answers = [Self.record(name, publication.address, timeToLive: 0, flushesCache: true)]
        for port in ports {
            transmits.append(MDNSTransmit(destination: .group, port: port, bytes: message.bytes))
        }
    }

    // MARK: Inputs

    /// Takes a message from the local link.
    package func receive(_ message: DNSMessage, from remote: TransportAddress, on port: PortID, at now: Instant) {
        guard !message.isResponse, ports.contains(port) else { return }
        let isLegacy = remote.port != MDNS.port
        var unicast: [DNSMessage.Question] = []
        for question in message.questions.prefix(Self.questionLimit) {
            guard let publication = publications[question.name], Self.answers(question.type) else { continue }
            if isLegacy {
                if !unicast.contains(question) { unicast.append(question) }
            } else if isKnown(question.name, publication.address, in: message) {
                continue  // RFC 6762 §7.1
            } else if question.wantsUnicast, wasMulticastLately(publication, on: port, at: now) {
                unicast.append(question)
            } else {
                multicastSoon(question.name, on: port, at: now)
            }
        }
        if !unicast.isEmpty { answer(unicast, isLegacy: isLegacy, id: message.id, to: remote, on: port, at: now) }
    }

    package func handleTimeout(at now: Instant) {
        for (name, publication) in publications {
            for (port, instant) in publication.dueMulticast where instant <= now {
                multicast(name, on: port, at: now)
            }
        }
    }

    // MARK: Outputs

    package func nextTransmit() -> MDNSTransmit? { transmits.popFirst() }

    package var nextDeadline: Deadline? {
        publications.values.compactMap { $0.dueMulticast.values.min() }.min().map { Deadline($0, "mDNS response") }
    }

    /// Whether names are published.
    package var isBusy: Bool { !publications.isEmpty }

    // MARK: Private

    private static func answers(_ type: DNSMessage.RecordType) -> Bool {
        type == .a || type == .aaaa || type == .any
    }

    /// Whether the asker has the record, with at least half of its time to live.
    private func isKnown(_ name: DNSName, _ address: IPAddress, in message: DNSMessage) -> Bool {
        message.answers.contains {
            $0.name == name && $0.content == .address(address) && $0.timeToLive >= Self.timeToLive / 2
        }
    }

    /// RFC 6762 §5.4: "within one quarter of its TTL".
    private func wasMulticastLately(_ publication: Publication, on port: PortID, at now: Instant) -> Bool {
        publication.lastMulticast[port].map { now - $0 < .seconds(Int(Self.timeToLive) / 4) } ?? false
    }

    /// RFC 6762 §6: "MUST NOT multicast a record on a given interface until at least one second has elapsed since the last
    /// time that record was multicast"; who asks meanwhile gets the answer then.
    private func multicastSoon(_ name: DNSName, on port: PortID, at now: Instant) {
        guard let publication = publications[name] else { return }
        guard let last = publication.lastMulticast[port], now - last < Self.multicastInterval else {
            return multicast(name, on: port, at: now)
        }
        publications[name]?.dueMulticast[port] = last + Self.multicastInterval
    }

    private func multicast(_ name: DNSName, on port: PortID, at now: Instant) {
        guard let publication = publications[name] else { return }
        publications[name]?.lastMulticast[port] = now
        publications[name]?.dueMulticast[port] = nil
        statistics.answered += 1
        var message = DNSMessage(isResponse: true)
        message.answers = [Self.record(name, publication.address, timeToLive: Self.timeToLive, flushesCache: true)]
        message.additionals = [Self.denial(name, publication.address, timeToLive: Self.timeToLive)]
        transmits.append(MDNSTransmit(destination: .group, port: port, bytes: message.bytes))
    }

    private func answer(
        _ questions: [DNSMessage.Question],
        isLegacy: Bool,
        id: UInt16,
        to remote: TransportAddress,
        on port: PortID,
        at now: Instant
    ) {
        guard takeAllowance(at: now) else {
            statistics.limited += 1
            return
        }
        statistics.answered += 1
        var message = DNSMessage(isResponse: true)
        // RFC 6762 §6.7: a legacy asker wants its ID and question back, short times to live and no unknown bits.
        let timeToLive = isLegacy ? Self.legacyTimeToLive : Self.timeToLive
        message.id = isLegacy ? id : 0
        if isLegacy {
            message.questions = questions.map { .init(name: $0.name, type: $0.type) }
        }
        for name in Set(questions.map(\.name)) {
            guard let address = publications[name]?.address else { continue }
            message.answers.append(Self.record(name, address, timeToLive: timeToLive, flushesCache: !isLegacy))
            if !isLegacy { message.additionals.append(Self.denial(name, address, timeToLive: timeToLive)) }
        }
        transmits.append(MDNSTransmit(destination: .unicast(remote), port: port, bytes: message.bytes))
    }

    private static func record(
        _ name: DNSName,
        _ address: IPAddress,
        timeToLive: UInt32,
        flushesCache: Bool
    ) -> DNSMessage.Record {
        .init(name: name, content: .address(address), timeToLive: timeToLive, flushesCache: flushesCache)
    }

    /// Says that the name has an address of one family only.
    private static func denial(_ name: DNSName, _ address: IPAddress, timeToLive: UInt32) -> DNSMessage.Record {
        .init(
            name: name,
            content: .existing([address.isIPv4 ? .a : .aaaa]),
            timeToLive: timeToLive,
            flushesCache: true
        )
    }

    private func takeAllowance(at now: Instant) -> Bool {
        if let last = allowanceInstant {
            let earned = (now - last).wholeMilliseconds / Self.millisecondsPerAnswer
            if earned > 0 {
                allowance = min(Self.burstLimit, allowance + Int(clamping: earned))
                allowanceInstant = now
            }
        } else {
            allowanceInstant = now
        }
        guard allowance > 0 else { return false }
        allowance -= 1
        return true
    }

    /// Of host addresses (RFC 6762 §10), in seconds.
    package static let timeToLive: UInt32 = 120
    private static let legacyTimeToLive: UInt32 = 10
    private static let multicastInterval = Duration.seconds(1)
    /// Names that are published at the same time.
    package static let nameLimit = 1_024
    /// Questions that are looked at in one message.
    package static let questionLimit = 64
    /// Unicast answers in a burst, and the time that earns one more.
    package static let burstLimit = 64
    private static let millisecondsPerAnswer: Int64 = 20
}
