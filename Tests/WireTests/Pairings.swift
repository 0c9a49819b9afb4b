import PAKE
import Testing

@Suite struct Pairings {
    private let first = [UInt8](repeating: 0xAA, count: 32)
    private let second = [UInt8](repeating: 0xBB, count: 32)

    private func pairing(
        _ role: Pairing.Role,
        _ secret: Pairing.Secret = .code("amber-otter-lemon"),
        _ fingerprint: [UInt8]? = nil,
        seed: UInt8 = 3
    ) throws -> Pairing {
        try Pairing(
            role: role,
            secret: secret,
            fingerprint: fingerprint ?? (role == .initiator ? first : second),
            random: (0..<48).map { $0 &+ seed &+ (role == .initiator ? 0 : 100) }
        )
    }

    /// Carries the three messages, altered on the way by `alter`, which is given the number of the message.
    private func run(
        _ initiator: Pairing,
        _ responder: Pairing,
        alter: (Int, String) -> String = { $1 }
    ) throws -> (Pairing.Agreement, Pairing.Agreement) {
        let hello = try #require(initiator.begin())
        guard case .send(let share) = try responder.receive(alter(0, hello)) else {
            throw PairingError.malformed("share")
        }
        guard case .done(let atInitiator, let confirm?) = try initiator.receive(alter(1, share)) else {
            throw PairingError.malformed("confirm")
        }
        guard case .done(let atResponder, nil) = try responder.receive(alter(2, confirm)) else {
            throw PairingError.malformed("done")
        }
        return (atInitiator, atResponder)
    }

    @Test func whoKnowsTheCodeLearnsTheOthersFingerprint() throws {
        let (a, b) = try run(pairing(.initiator), pairing(.responder))
        #expect(a.peerFingerprint == second)
        #expect(b.peerFingerprint == first)
        #expect(a.resumption == b.resumption)
        #expect(a.resumption.count == 32)
        let again = try run(
            pairing(.initiator, .resumption(a.resumption), seed: 9),
            pairing(.responder, .resumption(b.resumption), seed: 9)
        )
        #expect(again.0.peerFingerprint == second)
        // A last word that is lost must not part the two.
        #expect(again.0.resumption == a.resumption && again.1.resumption == a.resumption)
    }

    @Test func aWrongCodeIsNoticedByBoth() throws {
        let initiator = try pairing(.initiator, .code("amber-otter-lamp"))
        let responder = try pairing(.responder)
        #expect(throws: PairingError.wrongCode) { try run(initiator, responder) }
        // The responder, which was not told, takes no second try.
        #expect(throws: PairingError.wrongCode) {
            try responder.receive("confirm " + String(repeating: "00", count: 32))
        }
        #expect(throws: PairingError.self) {
            try responder.receive(try #require(try pairing(.initiator, seed: 5).begin()))
        }
    }

    /// A server between the two puts its own certificate in, or changes any character.
    @Test func whateverIsAlteredOnTheWayIsNoticed() throws {
        let hostile = String(repeating: "cc", count: 32)
        for (number, field) in [(0, 4), (1, 2)] {
            #expect(throws: PairingError.wrongCode) {
                try run(pairing(.initiator), pairing(.responder)) { index, message in
                    guard index == number else { return message }
                    var fields = message.split(separator: " ").map(String.init)
                    fields[field] = hostile
                    return fields.joined(separator: " ")
                }
            }
        }
        for number in 0..<3 {
            for position in stride(from: 0, to: 270, by: 7) {
                let (initiator, responder) = (try pairing(.initiator), try pairing(.responder))
                var isAltered = false
                let result = Result {
                    try run(initiator, responder) { index, message in
                        guard index == number, position < message.utf8.count else { return message }
                        var bytes = Array(message.utf8)
                        bytes[position] = bytes[position] == UInt8(ascii: "0") ? UInt8(ascii: "1") : UInt8(ascii: "0")
                        isAltered = true
                        return String(decoding: bytes, as: UTF8.self)
                    }
                }
                if isAltered { #expect(throws: (any Error).self, "\(number) \(position)") { try result.get() } }
            }
        }
    }

    @Test func anAnswerThatMirrorsProvesNothing() throws {
        let initiator = try pairing(.initiator)
        let hello = try #require(initiator.begin()).split(separator: " ")
        #expect(throws: PairingError.self) {
            try initiator.receive("share \(hello[3]) \(hello[4]) " + String(repeating: "00", count: 32))
        }
    }

    @Test func malformedMessagesAreRefusedInWords() throws {
        for message in [
            "", " ", "hello", "hello 1", "hello 2 code 04 aa", "hello 1 code zz aa", "hello 1 code 04 aa",
            "hello 1 resume 04 " + String(repeating: "aa", count: 32), "share 04 aa 00", "confirm 00", "confirm",
            String(repeating: "a", count: 100_000), "hello 1 code \(String(repeating: "0", count: 130)) aa",
            "\u{0}\u{7}", "hello  1 code 04 aa",
        ] {
            let responder = try pairing(.responder)
            #expect(throws: PairingError.self, "\(message.prefix(40))") { try responder.receive(message) }
            // The exchange is over.
            #expect(throws: PairingError.self) {
                try responder.receive(try #require(try pairing(.initiator).begin()))
            }
        }
        let initiator = try pairing(.initiator)
        _ = initiator.begin()
        #expect(initiator.begin() == nil)
        #expect(throws: PairingError.refused("the code was used")) {
            try initiator.receive(Pairing.refusal("the code\u{1b} was used"))
        }
    }

    @Test func firstMessagesTellWhichSecretTheyAreAbout() throws {
        let code = try #require(try pairing(.initiator).begin())
        let resume = try #require(try pairing(.initiator, .resumption([1])).begin())
        #expect(Pairing.asksToResume(code) == false)
        #expect(Pairing.asksToResume(resume) == true)
        for other in ["", "hello", "hello 1", "hello 1 x y z", "share 1 2 3", "hello 2 code a b"] {
            #expect(Pairing.asksToResume(other) == nil)
        }
    }

    @Test func codesReadAsTheyAreTyped() throws {
        var number = 0
        let code = TransferCode { range in
            number += 77
            return range.lowerBound + number % range.count
        }
        #expect(TransferCode("\(code)") == code)
        #expect(TransferCode("\(code)".uppercased().split(separator: "-").joined(separator: " ")) == code)
        #expect(TransferCode("4821-amber-otter-lemon")?.room == "4821")
        #expect(TransferCode("4821-amber-otter-lemon")?.words == "amber-otter-lemon")
        for wrong in [
            "", "4821", "4821-amber-otter", "4821-amber-otter-lemon-x", "amber-otter-lemon-4821",
            "482-amber-otter-lemon", "4821-amber-otter-xyzzy", "٤٨٢١-amber-otter-lemon", "4821.amber.otter.lemon",
            String(repeating: "1", count: 200),
        ] {
            #expect(TransferCode(wrong) == nil, "\(wrong)")
        }
    }

    @Test func hexadecimalReadsBothCases() {
        #expect(Hexadecimal.bytes("00fFA9") == [0, 255, 169])
        #expect(Hexadecimal.text([0, 255, 169]) == "00ffa9")
        for wrong in ["0", "0g", "0x00", "é"] { #expect(Hexadecimal.bytes(wrong) == nil) }
        #expect(Hexadecimal.bytes("")?.isEmpty == true)
    }
}
