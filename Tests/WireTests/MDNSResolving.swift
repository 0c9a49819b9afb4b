import MDNS
import SansIO
import Testing

/// Names are asked for, and only answers to those questions count.
@Suite struct MDNSResolving {
    private let resolver = MDNSResolver(random: RandomSource(seed: 7))
    private let first = PortID(rawValue: 1)
    private let second = PortID(rawValue: 2)
    private let responder = TransportAddress(IPAddress(v4: 0xC000_0209), port: MDNS.port)

    private func instant(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    private func name(_ text: String = "one.local") throws -> DNSName { try #require(DNSName(text)) }

    private func response(_ records: [(DNSName, String)], timeToLive: UInt32 = 120) throws -> DNSMessage {
        var message = DNSMessage(isResponse: true)
        message.answers = try records.map { name, text in
            let ip = try #require(IPAddress(text))
            return .init(name: name, content: .address(ip), timeToLive: timeToLive, flushesCache: true)
        }
        return message
    }

    private func drain() -> (transmits: [MDNSTransmit], events: [MDNSResolver.Event]) {
        var transmits: [MDNSTransmit] = []
        var events: [MDNSResolver.Event] = []
        while let transmit = resolver.nextTransmit() { transmits.append(transmit) }
        while let event = resolver.nextEvent() { events.append(event) }
        return (transmits, events)
    }

    @Test func bothFamiliesAreAskedForOnAllPortsFirstByUnicast() throws {
        resolver.setPorts([first: .member, second: .member])
        resolver.resolve(try name(), at: instant(0))
        let (transmits, events) = drain()
        #expect(transmits.map(\.port) == [first, second])
        #expect(events.isEmpty)
        for transmit in transmits {
            #expect(transmit.destination == .group)
            let message = try DNSMessage(transmit.bytes.span.bytes)
            #expect(!message.isResponse && message.id == 0)
            #expect(message.questions.map(\.type) == [.a, .aaaa])
            #expect(message.questions.map(\.wantsUnicast) == [true, true])
        }
        #expect(resolver.nextDeadline?.instant == instant(100))
        resolver.handleTimeout(at: instant(100))
        let again = drain().transmits
        #expect(again.count == 2)
        for transmit in again {
            #expect(try DNSMessage(transmit.bytes.span.bytes).questions.allSatisfy { !$0.wantsUnicast })
        }
    }

    @Test func aSilentLinkIsAskedFourTimesAndGivenUpAfterThreeSeconds() throws {
        resolver.setPorts([first: .member])
        resolver.resolve(try name(), at: instant(0))
        var times: [Int64] = []
        var failed: [Int64] = []
        var now = instant(0)
        while true {
            let (transmits, events) = drain()
            times += transmits.map { _ in now.nanoseconds / 1_000_000 }
            failed += events.map { _ in now.nanoseconds / 1_000_000 }
            guard let deadline = resolver.nextDeadline else { break }
            #expect(deadline.instant > now)
            now = deadline.instant
            resolver.handleTimeout(at: now)
        }
        #expect(times == [0, 100, 400, 1_400])
        #expect(failed == [3_000])
        #expect(!resolver.isBusy)
        #expect(resolver.statistics.failed == 1)
    }

    @Test func anAnswerBringsItsAddressesOnce() throws {
        resolver.setPorts([first: .member])
        resolver.resolve(try name(), at: instant(0))
        resolver.resolve(try name("ONE.local"), at: instant(1))
        #expect(drain().transmits.count == 1)
        let answer = try response([(name(), "192.0.2.1"), (name(), "2001:db8::1"), (name(), "192.0.2.1")])
        resolver.receive(answer, from: responder, on: first, at: instant(5))
        resolver.receive(answer, from: responder, on: first, at: instant(6))
        let addresses = try ["192.0.2.1", "2001:db8::1"].map { try #require(IPAddress($0)) }
        #expect(drain().events == [.resolved(try name(), addresses)])
        #expect(resolver.nextDeadline == nil)
        #expect(resolver.statistics.unasked == 1)
    }

    @Test func whatWasNotAskedForIsNotTaken() throws {
        resolver.setPorts([first: .member])
        resolver.resolve(try name(), at: instant(0))
        _ = drain()
        resolver.receive(try response([(name("two.local"), "192.0.2.1")]), from: responder, on: first, at: instant(1))
        // A farewell, a query with the record in it, a port that is not ours.
        let farewell = try response([(name(), "192.0.2.1")], timeToLive: 0)
        resolver.receive(farewell, from: responder, on: first, at: instant(1))
        var query = try response([(name(), "192.0.2.1")])
        query.isResponse = false
        resolver.receive(query, from: responder, on: first, at: instant(1))
        resolver.receive(try response([(name(), "192.0.2.1")]), from: responder, on: second, at: instant(1))
        // Addresses that no socket here can send to.
        for text in ["0.0.0.0", "224.0.0.251", "ff02::fb", "fe80::1", "::"] {
            resolver.receive(try response([(name(), text)]), from: responder, on: first, at: instant(1))
        }
        #expect(drain().events.isEmpty)
        resolver.receive(try response([(name(), "192.0.2.1")]), from: responder, on: first, at: instant(2))
        #expect(drain().events.count == 1)
    }

    /// Any program of a machine on the link can send from another port; that one only from who may share it.
    @Test func answersFromAnotherPortAreNotTaken() throws {
        for kind in [MDNSPortKind.member, .oneShot] {
            resolver.setPorts([first: kind])
            resolver.resolve(try name(), at: instant(0))
            var answer = try response([(name(), "192.0.2.1")])
            let query = try #require(drain().transmits.first).bytes
            answer.id = try DNSMessage(query.span.bytes).id
            var stranger = responder
            stranger.port = 5354
            resolver.receive(answer, from: stranger, on: first, at: instant(1))
            #expect(drain().events.isEmpty)
            resolver.receive(answer, from: responder, on: first, at: instant(1))
            #expect(drain().events.count == 1)
        }
        #expect(resolver.statistics.strange == 2)
    }

    @Test func aOneShotPortTakesAnswersToItsOwnMessagesOnly() throws {
        resolver.setPorts([first: .oneShot])
        resolver.resolve(try name(), at: instant(0))
        let bytes = try #require(drain().transmits.first).bytes
        let query = try DNSMessage(bytes.span.bytes)
        #expect(query.questions.allSatisfy { !$0.wantsUnicast })
        var answer = try response([(name(), "192.0.2.1")])
        answer.id = query.id ^ 1
        resolver.receive(answer, from: responder, on: first, at: instant(1))
        #expect(drain().events.isEmpty)
        answer.id = query.id
        resolver.receive(answer, from: responder, on: first, at: instant(1))
        #expect(drain().events.count == 1)
    }

    @Test func tooManyNamesAndNoPortsFailAtOnce() throws {
        resolver.resolve(try name(), at: instant(0))
        #expect(drain().events == [.failed(try name())])
        resolver.setPorts([first: .member])
        for number in 0..<MDNSResolver.nameLimit { resolver.resolve(try name("n\(number).local"), at: instant(0)) }
        #expect(drain().events.isEmpty)
        resolver.resolve(try name(), at: instant(0))
        #expect(drain().events == [.failed(try name())])
        #expect(resolver.statistics.refused == 1)
    }

    @Test func anAnswerWithManyAddressesIsCutShort() throws {
        resolver.setPorts([first: .member])
        resolver.resolve(try name(), at: instant(0))
        let many = try (1...40).map { (try name(), "192.0.2.\($0)") }
        resolver.receive(try response(many), from: responder, on: first, at: instant(1))
        guard case .resolved(_, let addresses) = drain().events.first else {
            return #expect(Bool(false), "not resolved")
        }
        #expect(addresses.count == MDNSResolver.addressLimit)
    }
}
