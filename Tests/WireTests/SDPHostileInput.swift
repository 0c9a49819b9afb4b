import SDP
import SansIO
import Testing

@Suite("SDP hostile input")
struct SDPHostileInput {
    private func error(_ text: String) -> SDPError? {
        do throws(SDPError) {
            _ = try SessionDescription(parsing: text)
            return nil
        } catch { return error }
    }

    private func repeated(_ count: Int, _ line: (Int) -> String) -> String { (0..<count).map(line).joined() }

    @Test("lines that are no lines of a description say which and why")
    func malformedLines() {
        #expect(error("") == .malformed(line: 1, "a description begins with v=0"))
        #expect(error("m=audio 9 RTP/AVP 0") == .malformed(line: 1, "a description begins with v=0"))
        #expect(error("v=1\r\n")?.line == 1)
        #expect(error("v=0\r\nnonsense")?.line == 2)
        #expect(error("v=0\r\n=x")?.line == 2)
        #expect(error("v=0\r\naa=x")?.line == 2)
        let broken = [
            "o=- 1 2 IN IP4", "o=- 1 -2 IN IP4 0.0.0.0", "o=- \(String(repeating: "1", count: 33)) 2 IN IP4 0.0.0.0",
            "m=", "m=audio",
            "m=audio 9 RTP/AVP", "m=audio x RTP/AVP 0", "m=audio 65536 RTP/AVP 0", "m=audio -1 RTP/AVP 0",
            "m=audio / RTP/AVP 0",
        ]
        for line in broken { #expect(error("v=0\r\n\(line)\r\n")?.line == 2, "\(line)") }
        let brokenAttributes = [
            "mid:", "mid:a b", "mid:\u{1}", "mid:é", "mid:\(String(repeating: "m", count: 65))", "ice-ufrag:abc",
            "ice-pwd:short",
            "ice-ufrag:\(String(repeating: "u", count: 257))", "setup:both", "setup:", "rtpmap:96",
            "rtpmap:128 VP8/90000", "rtpmap:x VP8/90000",
            "rtpmap:96 VP8", "rtpmap:96 VP8/0", "rtpmap:96 VP8/99999999999999999999", "rtpmap:96 opus/48000/0",
            "rtpmap:96 opus/48000/256",
            "extmap:0 urn:x", "extmap:x urn:x", "extmap:1", "extmap:/ urn:x", "ssrc:", "ssrc:1",
            "ssrc:4294967296 cname:x", "ssrc:-1 cname:x",
            "ssrc-group:", "sctp-port:65536", "sctp-port:", "max-message-size:-1",
            "max-message-size:18446744073709551616",
        ]
        for attribute in brokenAttributes {
            #expect(error("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=\(attribute)\r\n")?.line == 3, "\(attribute)")
        }
    }

    @Test("any end of line does, and lines are counted right")
    func lineEnds() throws {
        for end in ["\r\n", "\n", "\r"] {
            let session = try SessionDescription(parsing: ["v=0", "m=audio 9 X/Y 0", "a=mid:7"].joined(separator: end))
            #expect(session.media.first?.mid == "7")
            #expect(error(["v=0", "", "", "m=audio"].joined(separator: end))?.line == 4)
        }
        #expect(error("v=0\r\n\rm=audio")?.line == 3)
    }

    @Test("unknown lines and attributes are passed over")
    func unknown() throws {
        let session = try SessionDescription(
            parsing:
                "v=0\r\nz=0 0\r\nb=AS:5\r\nq=\r\na=unknown:x\r\nm=audio 9 X/Y 0\r\na=unknown\r\na=:\r\na=\r\nk=\r\n"
        )
        #expect(session.media.count == 1)
    }

    @Test("numbers at their limits")
    func extremes() throws {
        let session = try SessionDescription(
            parsing: """
                v=0
                o=- 18446744073709551615 18446744073709551615 IN IP4 0.0.0.0
                m=application 65535 UDP/DTLS/SCTP webrtc-datachannel
                a=sctp-port:65535
                a=max-message-size:18446744073709551615
                a=ssrc:4294967295 cname:x
                a=extmap:255 urn:x
                a=extmap:256 urn:y
                a=extmap:15 urn:z
                """
        )
        #expect(session.sessionVersion == .max)
        #expect(session.media[0].maxMessageSize == .max)
        #expect(session.media[0].sources.first?.ssrc == .max)
        #expect(
            session.media[0].extensionMaps.map(\.uri) == ["urn:x"],
            "15 is reserved, above 255 is only for offers to choose from"
        )
    }

    @Test("more than a megabyte and longer lines than 16 KiB are refused")
    func sizes() {
        let line = "a=x:" + String(repeating: "y", count: 1_000) + "\r\n"
        #expect(
            error("v=0\r\n" + String(repeating: line, count: 1_100)) == .tooLarge(limit: SessionDescription.byteLimit)
        )
        #expect(
            error("v=0\r\n" + String(repeating: "x", count: 2 << 20)) == .tooLarge(limit: SessionDescription.byteLimit)
        )
        #expect(error("v=0\r\na=" + String(repeating: "x", count: SessionDescription.lineByteLimit))?.line == 2)
        #expect(error("v=0\r\na=" + String(repeating: "x", count: SessionDescription.lineByteLimit - 2)) == nil)
    }

    @Test("NUL bytes are refused")
    func nulBytes() {
        #expect(error("v=0\r\na=mid:\0\r\n") == .malformed(line: 2, "a NUL byte"))
        #expect(error("\0") == .malformed(line: 1, "a NUL byte"))
    }

    @Test("what a description can make grow has a limit")
    func limits() {
        let media = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
        let limit = SessionDescription.attributeLimit
        #expect(error("v=0\r\n" + String(repeating: media, count: SessionDescription.mediaLimit)) == nil)
        #expect(
            error("v=0\r\n" + String(repeating: media, count: SessionDescription.mediaLimit + 1))
                == .tooMany(line: SessionDescription.mediaLimit + 2, "m-sections")
        )
        #expect(
            error("v=0\r\n" + String(repeating: "a=group:BUNDLE 0\r\n", count: SessionDescription.groupLimit + 1))
                == .tooMany(line: SessionDescription.groupLimit + 2, "groups")
        )
        #expect(error("v=0\r\nm=audio 9 X/Y" + repeated(limit + 1) { " \($0)" }) == .tooMany(line: 2, "formats"))
        let lines: [(String, (Int) -> String)] = [
            ("candidates", { "a=candidate:\($0) 1 udp 1 192.0.2.1 9 typ host\r\n" }),
            ("sources", { "a=ssrc:\($0) cname:x\r\n" }),
            ("source groups", { "a=ssrc-group:FID \($0) 1\r\n" }),
            ("header extensions", { "a=extmap:\($0 % 14 + 1) urn:\($0)\r\n" }),
            ("fingerprints", { "a=fingerprint:sha-256 \($0)\r\n" }), ("streams", { "a=msid:s t\($0)\r\n" }),
        ]
        for (what, line) in lines {
            #expect(error("v=0\r\n" + media + repeated(limit, line)) == nil, "\(what)")
            #expect(error("v=0\r\n" + media + repeated(limit + 1, line)) == .tooMany(line: limit + 3, what))
        }
    }

    @Test("thousands of lines that change one value leave one value")
    func repetition() throws {
        let text =
            "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"
            + repeated(20_000) { "a=fmtp:96 max-fs=\($0)\r\na=rtcp-fb:96 x\($0)\r\n" }
            + repeated(5_000) { "a=ssrc:7 label:\($0)\r\n" }
        let media = try SessionDescription(parsing: text).media[0]
        #expect(media.codecs[0].fmtp == "max-fs=19999")
        #expect(media.codecs[0].feedback.count == 32)
        #expect(media.sources.count == 1)
    }

    @Test("truncated offers", arguments: SDPReading.offers)
    func truncation(name: String) {
        let text = Array(RTPVectors.text("SDP/\(name).sdp").utf8)
        for count in stride(from: 0, to: text.count, by: 31) {
            let cut = String(decoding: text[..<count], as: UTF8.self)
            guard let session = try? SessionDescription(parsing: cut) else { continue }
            #expect((try? SessionDescription(parsing: session.text)) == session)
        }
    }

    @Test("changed offers read or fail, and what is read can be written and read again", arguments: 0..<8)
    func mutation(seed: UInt64) {
        let random = RandomSource(seed: seed)
        let offers = SDPReading.offers.map { Array(RTPVectors.text("SDP/\($0).sdp").utf8) }
        for _ in 0..<150 {
            var text = offers[Int(random.next() % UInt64(offers.count))]
            for _ in 0...(random.next() % 8) { mutate(&text, offers, random) }
            guard let session = try? SessionDescription(parsing: String(decoding: text, as: UTF8.self)) else {
                continue
            }
            #expect((try? SessionDescription(parsing: session.text)) == session, "seed \(seed)")
        }
    }

    /// Changes a byte, cuts, doubles a line, swaps a number for an extreme one, or brings a line of another offer in.
    private func mutate(_ text: inout [UInt8], _ others: [[UInt8]], _ random: RandomSource) {
        guard !text.isEmpty else { return }
        func place(_ bytes: [UInt8]) -> Int { Int(random.next() % UInt64(bytes.count)) }
        func line(_ bytes: [UInt8], at place: Int) -> Range<Int> {
            let start = bytes[..<place].lastIndex(of: 10).map { $0 + 1 } ?? 0
            return start..<(bytes[place...].firstIndex(of: 10).map { $0 + 1 } ?? bytes.count)
        }
        let at = place(text)
        switch random.next() % 7 {
        case 0: text[at] = UInt8(truncatingIfNeeded: random.next())
        case 1: text.removeSubrange(line(text, at: at))
        case 2: text.insert(contentsOf: text[line(text, at: at)], at: line(text, at: place(text)).lowerBound)
        case 3:
            let other = others[Int(random.next() % UInt64(others.count))]
            text.insert(contentsOf: other[line(other, at: place(other))], at: line(text, at: at).lowerBound)
        case 4:
            let numbers = ["0", "-1", "255", "256", "65536", "4294967296", "18446744073709551616", "1e9", ""]
            let digits = text[at...].prefix { (48...57).contains($0) }
            text.replaceSubrange(
                digits.startIndex..<digits.endIndex,
                with: Array(numbers[place([UInt8](repeating: 0, count: numbers.count))].utf8)
            )
        case 5: text.removeSubrange(at..<min(text.count, at + 3))
        default: text.insert(contentsOf: ["\r", "\n", "\0", " ", "=", ":", "/"][Int(random.next() % 7)].utf8, at: at)
        }
    }
}
