import SansIO
import Testing

@testable import SCTP

@Suite struct DCEPParsing {
    private func parse(_ bytes: [UInt8]) -> DCEP.Message? { DCEP.parse(bytes.span.bytes) }

    private func open(
        type: UInt8 = 0,
        priority: UInt16 = 256,
        reliability: UInt32 = 0,
        label: [UInt8] = Array("ab".utf8),
        name: [UInt8] = Array("p".utf8),
        labelCount: UInt16? = nil,
        nameCount: UInt16? = nil
    ) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(0x03 as UInt8)
        writer.write(type)
        writer.write(priority)
        writer.write(reliability)
        writer.write(labelCount ?? UInt16(label.count))
        writer.write(nameCount ?? UInt16(name.count))
        writer.write(label)
        writer.write(name)
        return writer.bytes
    }

    /// RFC 8832 §5.1.
    @Test func anOpenMessageIsLaidOutAsTheRFCSays() {
        var parameters = DataChannelParameters(label: "chat", protocol: "xy")
        parameters.ordered = false
        parameters.maxPacketLifeTime = 500
        parameters.priority = 512
        #expect(
            DCEP.open(parameters) == [
                0x03, 0x82, 0x02, 0x00, 0x00, 0x00, 0x01, 0xF4, 0x00, 0x04, 0x00, 0x02, 0x63, 0x68, 0x61, 0x74, 0x78,
                0x79,
            ]
        )
    }

    @Test func whatIsWrittenIsReadBack() {
        for ordered in [true, false] {
            for reliability in 0..<3 {
                for label in ["", "a", "グループ", String(repeating: "x", count: 65_535)] {
                    var parameters = DataChannelParameters(label: label, protocol: String(label.reversed()))
                    parameters.ordered = ordered
                    if reliability == 1 { parameters.maxRetransmits = 65_535 }
                    if reliability == 2 { parameters.maxPacketLifeTime = 0 }
                    guard case .open(let read)? = parse(DCEP.open(parameters)) else {
                        Issue.record("\(parameters)")
                        continue
                    }
                    #expect(read == parameters)
                }
            }
        }
    }

    @Test func eachTruncationIsRefused() {
        let whole = open()
        for count in 0..<whole.count { #expect(parse(Array(whole[..<count])) == nil, "\(count) bytes") }
        #expect(parse(whole) != nil)
    }

    @Test func lengthsBeyondTheMessageAreRefused() {
        #expect(parse(open(labelCount: 4)) == nil)
        #expect(parse(open(nameCount: 2)) == nil)
        #expect(parse(open(labelCount: 65_535)) == nil)
        #expect(parse(open(labelCount: 65_535, nameCount: 65_535)) == nil)
        #expect(parse(open(label: [UInt8](repeating: 0x61, count: 65_534), name: [], labelCount: 65_535)) == nil)
    }

    @Test func bytesBehindTheMessageAreIgnored() {
        guard case .open(let parameters)? = parse(open() + [1, 2, 3]) else {
            Issue.record("refused")
            return
        }
        #expect(parameters.label == "ab" && parameters.protocol == "p")
    }

    @Test func unknownMessagesAndChannelTypesAreRefused() {
        for type in 0...255 as ClosedRange<UInt8> where type != 0x02 && type != 0x03 {
            var bytes = open()
            bytes[0] = type
            #expect(parse(bytes) == nil, "message \(type)")
        }
        for type in 0...255 as ClosedRange<UInt8> {
            #expect((parse(open(type: type)) != nil) == (type & 0x7F <= 2), "channel type \(type)")
        }
    }

    @Test func brokenUTF8IsRepaired() {
        for label: [UInt8] in [
            [0xFF, 0xFE], [0xC0, 0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80],
        ] {
            guard case .open(let parameters)? = parse(open(label: label, name: label)) else {
                Issue.record("\(label)")
                continue
            }
            #expect(parameters.label.contains("\u{FFFD}") && parameters.protocol.contains("\u{FFFD}"))
        }
    }

    @Test func aLargeReliabilityParameterIsClamped() {
        guard case .open(let parameters)? = parse(open(type: 1, reliability: .max)) else {
            Issue.record("refused")
            return
        }
        #expect(parameters.maxRetransmits == .max)
    }

    @Test func randomBytesNeverTrap() {
        let random = RandomSource(seed: 11)
        for _ in 0..<20_000 {
            var bytes = (0..<Int(random.next() % 64)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            if !bytes.isEmpty, random.next() % 2 == 0 { bytes[0] = 0x03 }
            _ = parse(bytes)
        }
    }
}
