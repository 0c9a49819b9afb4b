import ICE
import STUN
import SansIO
import Testing

/// Datagrams of many connections on one port, sorted by fragment, transaction and address.
@Suite struct PortDemultiplexing {
    private let demultiplexer = PortDemultiplexer()
    private let start = Instant(nanoseconds: 1_000_000_000)
    private let here = TransportAddress(IPAddress(v4: 0xC633_6401), port: 5000)

    private func id(_ number: UInt32) -> STUNTransactionID { STUNTransactionID(high: number, low: 7) }

    private func check(_ username: String?, _ number: UInt32 = 1) -> [UInt8] {
        var message = STUNMessageWriter(.request, .binding, id(number))
        if let username { message.add(.username, text: username) }
        return message.finish(key: STUNKey(password: "secret"))
    }

    private func answer(_ number: UInt32) -> [UInt8] {
        var message = STUNMessageWriter(.success, .binding, id(number))
        message.add(.xorMappedAddress, xor: here)
        return message.finish(key: STUNKey(password: "secret"))
    }

    private func route(
        _ bytes: [UInt8],
        from remote: TransportAddress? = nil,
        on socket: Int = 0,
        after delay: Duration = .zero
    ) -> PortDemultiplexer.Member? {
        demultiplexer.route(stun: bytes.span.bytes, from: remote ?? here, on: socket, at: start + delay)
    }

    private func owner(_ remote: TransportAddress? = nil, on socket: Int = 0) -> PortDemultiplexer.Member? {
        demultiplexer.ownerOrDrop(of: remote ?? here, on: socket, count: 1)
    }

    private func claim(
        _ member: PortDemultiplexer.Member,
        _ proof: ICEProof,
        _ remote: TransportAddress? = nil,
        after delay: Duration = .zero
    ) {
        demultiplexer.claim(remote ?? here, on: 0, by: proof, for: member, at: start + delay)
    }

    private func member(_ fragment: String) -> PortDemultiplexer.Member {
        let member = demultiplexer.addMember()
        #expect(demultiplexer.register(fragment, for: member))
        return member
    }

    @Test func `Checks go by the fragment, other datagrams by an address that was proven`() {
        let (one, other) = (member("aaaa"), member("bbbb"))
        #expect(route(check("aaaa:x")) == one)
        #expect(route(check("bbbb:x")) == other)
        // A check alone gives nobody the address: who is to judge its password is the connection.
        #expect(owner() == nil)
        #expect(demultiplexer.counts.unknownAddresses == 1)
        claim(one, .request)
        #expect(owner() == one)
        // The same address at another socket is another path.
        #expect(owner(on: 1) == nil)
        #expect(owner(TransportAddress(here.ip, port: 5001)) == nil)
    }

    @Test func `A flood of unknown fragments, answers and addresses is counted and leaves nothing behind`() {
        let one = member("aaaa")
        claim(one, .response)
        for number in 0..<UInt32(20_000) {
            let from = TransportAddress(IPAddress(v4: 0x0A00_0000 + number), port: 9)
            #expect(route(check("zz\(number):x"), from: from) == nil)
            #expect(route(check("aaaa"), from: from) == nil, "a username without a colon")
            #expect(route(check(nil), from: from) == nil)
            #expect(route(answer(number), from: from) == nil)
            #expect(owner(from) == nil)
            #expect(route([0, 1, 0, 0], from: from) == nil)
        }
        let counts = demultiplexer.counts
        #expect(counts.unknownUsernames == 60_000 && counts.unknownResponses == 20_000)
        #expect(counts.unknownAddresses == 20_000 && counts.malformed == 20_000)
        #expect(demultiplexer.addressCount == 1 && demultiplexer.memberCount == 1)
        #expect(owner() == one)
    }

    @Test func `Answers go to who asked, from where it asked`() {
        let (one, other) = (member("aaaa"), member("bbbb"))
        // A STUN server that two connections have asked is neither's.
        demultiplexer.noteRequest(id(1), to: here, on: 0, of: one)
        demultiplexer.noteRequest(id(2), to: here, on: 0, of: other)
        #expect(route(answer(1)) == one)
        #expect(route(answer(2)) == other)
        #expect(route(answer(1), from: TransportAddress(here.ip, port: 1)) == nil)
        #expect(route(answer(1), on: 1) == nil)
        #expect(route(answer(3)) == nil)
        #expect(demultiplexer.counts.unknownResponses == 3)
        // Once the address is one's own, its answers need no memory.
        claim(one, .response)
        demultiplexer.noteRequest(id(4), to: here, on: 0, of: one)
        #expect(route(answer(4)) == one)
    }

    @Test func `What a connection asks is remembered up to a limit`() {
        let one = member("aaaa")
        let last = UInt32(3 * PortDemultiplexer.requestLimit)
        for number in 1...last {
            demultiplexer.noteRequest(id(number), to: here, on: 0, of: one)
            // Sent again.
            demultiplexer.noteRequest(id(number), to: here, on: 0, of: one)
        }
        #expect(route(answer(last)) == one)
        #expect(route(answer(last - UInt32(PortDemultiplexer.requestLimit) + 1)) == one)
        #expect(route(answer(last - UInt32(PortDemultiplexer.requestLimit))) == nil)
    }

    @Test func `An address in use is taken by a round trip of a newer connection, and by nothing else`() {
        let (old, middle, new) = (member("aaaa"), member("bbbb"), member("cccc"))
        claim(middle, .response)
        // Spoofed: the check is right, and from an address that is not the sender's.
        #expect(route(check("cccc:x")) == new)
        claim(new, .request, after: .seconds(1))
        #expect(owner() == middle)
        // The older one does not even hear of it.
        #expect(route(check("aaaa:x")) == nil)
        demultiplexer.noteRequest(id(5), to: here, on: 0, of: old)
        #expect(route(answer(5)) == nil)
        #expect(demultiplexer.counts.conflicts == 2)
        claim(old, .response, after: .seconds(1))
        #expect(owner() == middle)
        // The peer really is there, in a new connection.
        claim(new, .response, after: .seconds(1))
        #expect(owner() == new)
        #expect(demultiplexer.counts.moves == 1)
        claim(middle, .response, after: .seconds(2))
        #expect(owner() == new)
    }

    @Test func `An address whose owner hears nothing any more is anybody's`() {
        let (old, new) = (member("aaaa"), member("bbbb"))
        claim(new, .response)
        #expect(route(check("aaaa:x"), after: PortDemultiplexer.silence) == nil)
        let later = PortDemultiplexer.silence + .milliseconds(1)
        #expect(route(check("aaaa:x"), after: later) == old)
        claim(old, .request, after: later)
        #expect(owner() == old)
        // Heard of again and again, an owner keeps it.
        for second in 14...60 { claim(old, .request, after: .seconds(second)) }
        claim(new, .request, after: .seconds(61))
        #expect(owner() == old)
    }

    @Test func `An address that was claimed before its user came is given up for a round trip`() {
        let (victim, attacker) = (member("aaaa"), member("bbbb"))
        claim(attacker, .request)
        #expect(route(check("aaaa:x")) == victim)
        claim(victim, .response, after: .seconds(1))
        #expect(owner() == victim)
    }

    @Test func `A peer that shows many addresses keeps the ones it uses`() {
        let one = member("aaaa")
        claim(one, .response)
        for number in 1...UInt32(4 * ICELimits.authenticPaths) {
            claim(one, .request, TransportAddress(IPAddress(v4: number), port: 1), after: .milliseconds(Int(number)))
            claim(one, .request, after: .milliseconds(Int(number)))
        }
        #expect(demultiplexer.addressCount == ICELimits.authenticPaths)
        #expect(owner() == one)
    }

    @Test func `A fragment is one connection's`() {
        let (one, other) = (member("aaaa"), demultiplexer.addMember())
        #expect(!demultiplexer.register("aaaa", for: other))
        #expect(demultiplexer.counts.clashes == 1)
        #expect(route(check("aaaa:x")) == one)
        // A restart: both generations reach it, up to a limit.
        #expect(demultiplexer.register("a2", for: one) && demultiplexer.register("aaaa", for: one))
        #expect(route(check("a2:x")) == one && route(check("aaaa:x")) == one)
        for number in 3..<(3 + PortDemultiplexer.fragmentLimit) {
            #expect(demultiplexer.register("a\(number)", for: one))
        }
        #expect(route(check("a2:x")) == nil && route(check("aaaa:x")) == nil)
        // What one let go of, or left behind, another may have.
        #expect(demultiplexer.register("aaaa", for: other))
        demultiplexer.remove(one)
        #expect(demultiplexer.register("a3", for: other))
        #expect(route(check("a3:x")) == other)
    }

    @Test func `A connection that is removed leaves nothing, and the others as they were`() {
        let (one, other) = (member("aaaa"), member("bbbb"))
        let there = TransportAddress(here.ip, port: 6000)
        claim(one, .response)
        claim(other, .response, there)
        demultiplexer.noteRequest(id(1), to: TransportAddress(here.ip, port: 7), on: 0, of: one)
        let revision = demultiplexer.revision
        demultiplexer.remove(one)
        #expect(demultiplexer.revision != revision)
        #expect(owner() == nil && owner(there) == other)
        #expect(route(check("aaaa:x")) == nil && route(check("bbbb:x"), from: there) == other)
        #expect(route(answer(1), from: TransportAddress(here.ip, port: 7)) == nil)
        claim(one, .response)
        #expect(demultiplexer.register("aaaa", for: one) == false)
        #expect(demultiplexer.addressCount == 1 && demultiplexer.memberCount == 1)
    }

    @Test func `Bytes of any kind are dropped or delivered, and never more`() {
        let one = member("aaaa")
        let random = RandomSource(seed: 11)
        let whole = check("aaaa:x")
        for length in 0...whole.count {
            _ = route(Array(whole[..<length]))
        }
        for _ in 0..<2_000 {
            var bytes = whole
            for _ in 0...Int(random.next() % 4) {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            let found = route(bytes)
            #expect(found == nil || found == one)
        }
        #expect(demultiplexer.addressCount == 0)
    }
}
