import MDNS
import SansIO
import Testing

/// Messages of multicast DNS: vectors, and what hostile senders make of them.
@Suite struct MDNSMessages {
    private static let uuid = "3c2f9f3e-6c0f-4a0e-9c1b-2f0a8f6f6f10.local"

    private static func read(_ bytes: [UInt8]) throws(DNSError) -> DNSMessage { try DNSMessage(bytes.span.bytes) }

    private static func error(_ bytes: [UInt8]) -> DNSError? {
        do throws(DNSError) {
            _ = try read(bytes)
            return nil
        } catch { return error }
    }

    /// A header with these counts and what follows it.
    private static func message(
        flags: UInt16 = 0,
        questions: UInt16 = 0,
        answers: UInt16 = 0,
        additionals: UInt16 = 0,
        _ rest: [UInt8]
    ) -> [UInt8] {
        [0, 0, flags, questions, answers, 0, additionals].dropFirst(2).reduce([0, 0]) {
            $0 + [UInt8($1 >> 8), UInt8($1 & 255)]
        } + rest
    }

    private static let hostLocal: [UInt8] = [4] + Array("host".utf8) + [5] + Array("local".utf8) + [0]

    @Test func aQueryHasTheBytesOfRFC1035AndTheUnicastBit() throws {
        let name = try #require(DNSName("Host.local."))
        var query = DNSMessage(isResponse: false)
        query.questions = [.init(name: name, type: .a, wantsUnicast: true), .init(name: name, type: .aaaa)]
        let wanted = Self.message(questions: 2, Self.hostLocal + [0, 1, 0x80, 1] + Self.hostLocal + [0, 28, 0, 1])
        #expect(query.bytes == wanted)
        #expect(try Self.read(wanted) == query)
    }

    @Test func aCompressedResponseIsRead() throws {
        // As Avahi writes it: host.local A 192.0.2.7, and its AAAA by a pointer to the name at 12.
        let bytes = Self.message(
            flags: 0x8400,
            answers: 2,
            Self.hostLocal + [0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4, 192, 0, 2, 7]
                + [0xC0, 12, 0, 28, 0x80, 1, 0, 0, 0, 120, 0, 16, 0x20, 1, 0xD, 0xB8] + [UInt8](repeating: 0, count: 11)
                + [9]
        )
        let message = try Self.read(bytes)
        let name = try #require(DNSName("HOST.LOCAL"))
        #expect(message.isResponse)
        #expect(message.answers.map(\.name) == [name, name])
        let addresses = ["192.0.2.7", "2001:db8::9"].map { IPAddress($0).map { DNSMessage.Record.Content.address($0) } }
        #expect(message.answers.map(\.content) == addresses)
        #expect(message.answers.allSatisfy { $0.flushesCache && $0.timeToLive == 120 })
    }

    @Test func aResponseIsWrittenWithItsDenial() throws {
        let name = try #require(DNSName("host.local"))
        let address = try #require(IPAddress("192.0.2.7"))
        var response = DNSMessage(isResponse: true)
        response.answers = [.init(name: name, content: .address(address), timeToLive: 120, flushesCache: true)]
        response.additionals = [.init(name: name, content: .existing([.a]), timeToLive: 120, flushesCache: true)]
        let record = Self.hostLocal + [0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4, 192, 0, 2, 7]
        // RFC 4034 §4.3: type 1 is the second bit of the first byte.
        let denial =
            Self.hostLocal + [0, 47, 0x80, 1, 0, 0, 0, 120, 0, UInt8(Self.hostLocal.count + 3)] + Self.hostLocal
            + [0, 1, 0x40]
        #expect(response.bytes == Self.message(flags: 0x8400, answers: 1, additionals: 1, record + denial))
    }

    @Test func namesOfTextAreCheckedAndComparedWithoutCase() throws {
        #expect(DNSName("A.LOCAL") == DNSName("a.local."))
        #expect(DNSName("a.local") != DNSName("b.local"))
        #expect(DNSName(Self.uuid)?.description == Self.uuid)
        #expect(DNSName(Self.uuid)?.isLocal == true)
        #expect(DNSName("local.example")?.isLocal == false)
        #expect(DNSName("local")?.isLocal == false)
        for wrong in ["", ".", "a..local", ".local", String(repeating: "x", count: 64) + ".local"] {
            #expect(DNSName(wrong) == nil, "\(wrong)")
        }
        #expect(DNSName(String(repeating: "abcdefg.", count: 31) + "abcdef") == nil)
        #expect(DNSName(String(repeating: "abcdefg.", count: 31) + "abcde") != nil)
    }

    @Test func everyTruncationIsRefused() throws {
        let name = try #require(DNSName(Self.uuid))
        let address = try #require(IPAddress("2001:db8::9"))
        var response = DNSMessage(isResponse: true)
        response.questions = [.init(name: name, type: .any)]
        response.answers = [.init(name: name, content: .address(address), timeToLive: 1, flushesCache: false)]
        response.additionals = [.init(name: name, content: .existing([.aaaa]), timeToLive: 1, flushesCache: true)]
        let bytes = response.bytes
        for count in 0..<bytes.count { #expect(Self.error(Array(bytes.prefix(count))) != nil, "\(count) bytes") }
        #expect(Self.error(bytes) == nil)
    }

    @Test func pointersThatLeadNowhereAreRefused() {
        let end: [UInt8] = [0, 1, 0, 1]
        // To itself, to each other, ahead, beyond the end, back to the label before it, and after a reserved length.
        let hostile: [[UInt8]] = [
            [0xC0, 12], [0xC0, 14, 0xC0, 12], [0xC0, 18], [0xFF, 0xFF], [1, 0x61, 0xC0, 12], [0x40], [0x80, 1],
        ]
        for name in hostile {
            let error = Self.error(Self.message(questions: 1, name + end))
            guard case .malformedName = error else {
                Issue.record("\(name): \(error.map { "\($0)" } ?? "was read")")
                continue
            }
        }
    }

    /// 512 names of such a message would be 2 million pointers, which is 10 ms for 9 kB.
    @Test func pointersToPointersEnd() throws {
        // A name of the root alone in the first question, then pointers, each to the one before.
        func message(_ pointerCount: Int) -> [UInt8] {
            var rest: [UInt8] = [0, 0, 1, 0, 1]
            // Within a record that is passed over.
            let start = 12 + rest.count + 11
            rest += [0, 0, 16, 0, 1, 0, 0, 0, 0]
            rest += [UInt8((2 * pointerCount) >> 8), UInt8((2 * pointerCount) & 255)]
            for index in 0..<pointerCount {
                let target = index == 0 ? 12 : start + 2 * (index - 1)
                rest += [0xC0 | UInt8(target >> 8), UInt8(target & 255)]
            }
            let last = start + 2 * (pointerCount - 1)
            rest += [0xC0 | UInt8(last >> 8), UInt8(last & 255), 0, 16, 0, 1, 0, 0, 0, 0, 0, 0]
            return Self.message(flags: 0x8400, questions: 1, answers: 2, rest)
        }
        #expect(try Self.read(message(DNSName.pointerLimit - 1)).answers.count == 2)
        guard case .malformedName = Self.error(message(DNSName.pointerLimit)) else {
            return #expect(Bool(false), "a name of too many pointers was read")
        }
    }

    @Test func namesThatGrowByPointersEnd() {
        // Each question's name is a label of 63 bytes and a pointer to the name before: the fifth would have 320.
        var rest: [UInt8] = []
        var last: [UInt8] = [0]
        for _ in 0..<5 {
            let offset = 12 + rest.count
            rest += [63] + [UInt8](repeating: 0x61, count: 63) + last + [0, 1, 0, 1]
            last = [0xC0 | UInt8(offset >> 8), UInt8(offset & 255)]
        }
        guard case .malformedName = Self.error(Self.message(questions: 5, rest)) else {
            return #expect(Bool(false), "a name of 320 bytes was read")
        }
    }

    @Test func whatIsTooLongOrTooManyIsRefused() {
        let long = Self.message([UInt8](repeating: 0, count: DNSMessage.byteLimit - 11))
        #expect(Self.error(long) == .tooLong(byteCount: DNSMessage.byteLimit + 1))
        #expect(Self.error(Self.message(answers: 0xFFFF, additionals: 0xFFFF, [])) == .tooManyEntries(count: 131_070))
        let questions = [UInt8]([0, 0, 1, 0, 1])
        let many = (0..<DNSMessage.entryLimit).flatMap { _ in questions }
        #expect(Self.error(Self.message(questions: UInt16(DNSMessage.entryLimit), many)) == nil)
        #expect(
            Self.error(Self.message(questions: UInt16(DNSMessage.entryLimit + 1), many + questions))
                == .tooManyEntries(count: DNSMessage.entryLimit + 1)
        )
    }

    @Test func otherOperationsAndErrorsAreRefused() {
        #expect(Self.error(Self.message(flags: 0x2800, [])) == .unsupported(flags: 0x2800))
        #expect(Self.error(Self.message(flags: 0x8403, [])) == .unsupported(flags: 0x8403))
    }

    @Test func addressesOfAnotherLengthAreRefusedAndOtherRecordsPassedOver() throws {
        let short = Self.hostLocal + [0, 1, 0, 1, 0, 0, 0, 1, 0, 3, 1, 2, 3]
        #expect(Self.error(Self.message(flags: 0x8400, answers: 1, short)) == .malformedAddress(byteCount: 3))
        // A TXT record, and an A record of class CH.
        let text = Self.hostLocal + [0, 16, 0, 1, 0, 0, 0, 1, 0, 1, 0]
        let chaos = Self.hostLocal + [0, 1, 0, 3, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]
        let message = try Self.read(Self.message(flags: 0x8400, answers: 2, text + chaos))
        #expect(message.answers.map(\.type) == [.init(rawValue: 16)])
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func changedMessagesHarmNothing(seed: UInt64) throws {
        let random = RandomSource(seed: seed)
        let name = try #require(DNSName(Self.uuid))
        let address = try #require(IPAddress("192.0.2.7"))
        var response = DNSMessage(isResponse: true)
        response.questions = [.init(name: name, type: .a)]
        response.answers = [.init(name: name, content: .address(address), timeToLive: 120, flushesCache: true)]
        let compressed =
            Self.message(flags: 0x8400, answers: 2, Self.hostLocal + [0, 1, 0x80, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4])
            + [0xC0, 12, 0, 1, 0x80, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 5]
        let mutation = STUNMutation(random: random, seeds: [response.bytes, compressed], changeCount: 4)
        var readCount = 0
        for _ in 0..<20_000 {
            guard let message = try? Self.read(mutation.next()) else { continue }
            readCount += 1
            // What was read can be written and read again as the same, but for records whose content is not kept.
            var kept = message
            kept.answers.removeAll { if case .address = $0.content { false } else { true } }
            kept.additionals = []
            #expect(try Self.read(kept.bytes) == kept, "seed \(seed)")
        }
        #expect(readCount > 100, "seed \(seed)")
    }

    @Test func neighboursAreKnownByTheirPrefixes() throws {
        let links = LocalLinks([
            .init(try #require(IPAddress("192.0.2.65")), prefixLength: 26),
            .init(try #require(IPAddress("2001:db8:0:1::5")), prefixLength: 64),
            .init(try #require(IPAddress("2001:db8:0:2::5")), prefixLength: 127),
        ])
        for (text, isNeighbour) in [
            ("192.0.2.127", true), ("192.0.2.128", false), ("192.0.2.63", false), ("169.254.7.7", true),
            ("2001:db8:0:1:ffff::", true), ("2001:db8:0:3::5", false), ("2001:db8:0:2::4", true),
            ("2001:db8:0:2::6", false), ("fe80::1", true), ("224.0.0.251", false), ("0.0.0.0", false),
        ] {
            #expect(links.contains(try #require(IPAddress(text))) == isNeighbour, "\(text)")
        }
    }
}
