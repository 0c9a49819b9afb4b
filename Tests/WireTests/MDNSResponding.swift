import MDNS
import SansIO
import Testing

/// Names of this process are answered for, no oftener than RFC 6762 allows.
@Suite struct MDNSResponding {
    private let responder = MDNSResponder()
    private let port = PortID(rawValue: 1)
    private let other = PortID(rawValue: 2)
    private let name: DNSName
    private let address: IPAddress
    /// A neighbour that speaks multicast DNS, and one that asks from any port.
    private let neighbour: TransportAddress
    private let legacy: TransportAddress

    init() throws {
        name = try #require(DNSName("3c2f9f3e-6c0f-4a0e-9c1b-2f0a8f6f6f10.local"))
        address = try #require(IPAddress("192.0.2.7"))
        neighbour = try #require(TransportAddress("192.0.2.9", port: 5353))
        legacy = try #require(TransportAddress("192.0.2.9", port: 40_000))
        responder.setPorts([port])
    }

    private func instant(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    private func query(
        _ type: DNSMessage.RecordType = .a,
        unicast: Bool = false,
        of asked: DNSName? = nil
    ) -> DNSMessage {
        var message = DNSMessage(isResponse: false)
        message.questions = [.init(name: asked ?? name, type: type, wantsUnicast: unicast)]
        return message
    }

    private func drain() -> [MDNSTransmit] {
        var transmits: [MDNSTransmit] = []
        while let transmit = responder.nextTransmit() { transmits.append(transmit) }
        return transmits
    }

    private func message(_ transmit: MDNSTransmit) throws -> DNSMessage { try DNSMessage(transmit.bytes.span.bytes) }

    private func publish() { #expect(responder.publish(name, address: address)) }

    @Test func anAnswerTellsTheAddressAndThatThereIsNoOther() throws {
        publish()
        #expect(drain().isEmpty)
        responder.receive(query(), from: neighbour, on: port, at: instant(0))
        let answer = try message(try #require(drain().first))
        #expect(answer.isResponse && answer.id == 0 && answer.questions.isEmpty)
        #expect(
            answer.answers == [.init(name: name, content: .address(address), timeToLive: 120, flushesCache: true)]
        )
        #expect(answer.additionals.map(\.type) == [.nsec])
        #expect(responder.nextDeadline == nil)
    }

    @Test func aNameIsTakenBackOnAllPorts() throws {
        responder.setPorts([port, other])
        publish()
        responder.withdraw(name)
        let farewell = drain()
        #expect(Set(farewell.map(\.port)) == [port, other])
        #expect(try message(try #require(farewell.first)).answers.map(\.timeToLive) == [0])
        #expect(!responder.isBusy)
        responder.receive(query(), from: neighbour, on: port, at: instant(9_000))
        #expect(drain().isEmpty)
    }

    @Test(arguments: [DNSMessage.RecordType.a, .aaaa, .any])
    func questionsAreAnsweredToTheGroup(type: DNSMessage.RecordType) throws {
        publish()
        responder.receive(query(type), from: neighbour, on: port, at: instant(5_000))
        let sent = drain()
        #expect(sent.map(\.destination) == [.group])
        #expect(try message(try #require(sent.first)).answers.map(\.content) == [.address(address)])
    }

    @Test func otherQuestionsAreNotAnswered() throws {
        publish()
        let stranger = try #require(DNSName("printer.local"))
        responder.receive(query(of: stranger), from: neighbour, on: port, at: instant(5_000))
        responder.receive(query(.init(rawValue: 16)), from: neighbour, on: port, at: instant(5_000))
        responder.receive(query(), from: neighbour, on: other, at: instant(5_000))
        var response = query()
        response.isResponse = true
        responder.receive(response, from: neighbour, on: port, at: instant(5_000))
        #expect(drain().isEmpty)
    }

    @Test func anAnswerByUnicastIsGivenWhileTheGroupKnows() throws {
        publish()
        responder.receive(query(unicast: true), from: neighbour, on: port, at: instant(1_000))
        #expect(drain().map(\.destination) == [.group])
        responder.receive(query(unicast: true), from: neighbour, on: port, at: instant(30_999))
        #expect(drain().map(\.destination) == [.unicast(neighbour)])
        // RFC 6762 §5.4: a quarter of the time to live after the last multicast, the group is told again.
        responder.receive(query(unicast: true), from: neighbour, on: port, at: instant(31_000))
        #expect(drain().map(\.destination) == [.group])
    }

    @Test func theGroupHearsARecordOnceASecond() throws {
        publish()
        responder.receive(query(), from: neighbour, on: port, at: instant(5_000))
        #expect(drain().count == 1)
        for time in stride(from: 5_100, through: 5_900, by: 100) as StrideThrough<Int64> {
            responder.receive(query(), from: neighbour, on: port, at: instant(time))
        }
        #expect(drain().isEmpty)
        #expect(responder.nextDeadline?.instant == instant(6_000))
        responder.handleTimeout(at: instant(6_000))
        #expect(drain().count == 1)
        #expect(responder.nextDeadline == nil)
    }

    @Test func whoKnowsTheAnswerGetsNone() throws {
        publish()
        var asking = query()
        asking.answers = [.init(name: name, content: .address(address), timeToLive: 60, flushesCache: false)]
        responder.receive(asking, from: neighbour, on: port, at: instant(5_000))
        #expect(drain().isEmpty)
        asking.answers[0].timeToLive = 59
        responder.receive(asking, from: neighbour, on: port, at: instant(5_000))
        #expect(drain().count == 1)
    }

    @Test func aLegacyAskerGetsAnAnswerThatItUnderstands() throws {
        publish()
        var asking = query()
        asking.id = 0x1234
        responder.receive(asking, from: legacy, on: port, at: instant(5_000))
        let sent = try #require(drain().first)
        #expect(sent.destination == .unicast(legacy))
        let answer = try message(sent)
        #expect(answer.id == 0x1234)
        #expect(answer.questions == asking.questions)
        #expect(
            answer.answers == [.init(name: name, content: .address(address), timeToLive: 10, flushesCache: false)]
        )
        #expect(answer.additionals.isEmpty)
    }

    @Test func aFloodOfQuestionsGetsFewAnswers() throws {
        publish()
        for _ in 0..<10_000 { responder.receive(query(), from: legacy, on: port, at: instant(5_000)) }
        #expect(drain().count == MDNSResponder.burstLimit)
        #expect(responder.statistics.limited == 10_000 - MDNSResponder.burstLimit)
        for _ in 0..<100 { responder.receive(query(), from: legacy, on: port, at: instant(5_200)) }
        #expect(drain().count == 10)
        // A message with one question many times is one answer.
        var asking = query()
        asking.questions = Array(repeating: asking.questions[0], count: 500)
        responder.receive(asking, from: legacy, on: port, at: instant(60_000))
        let sent = drain()
        #expect(sent.count == 1)
        #expect(try message(try #require(sent.first)).answers.count == 1)
        #expect(try message(try #require(sent.first)).questions.count == 1)
    }

    @Test func tooManyNamesAreRefused() throws {
        for number in 0..<MDNSResponder.nameLimit {
            #expect(responder.publish(try #require(DNSName("n\(number).local")), address: address))
        }
        #expect(!responder.publish(name, address: address))
        #expect(responder.statistics.refused == 1)
    }
}
