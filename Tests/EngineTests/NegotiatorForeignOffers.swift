import DTLS
import PeerEngine
import RTP
import SDP
import SansIO
import Testing

/// Offers of others: browsers' real ones, odd ones, and ones that lack what is needed.
@Suite("Negotiation: foreign descriptions")
struct NegotiatorForeignOffers {
    typealias Offer = HandmadeOffer

    private static func vector(_ name: String, file: StaticString = #filePath) -> String {
        let here = "\(file)"
        let tests = here.split(separator: "/").dropLast(2).joined(separator: "/")
        return FileText.read("/\(tests)/WireTests/Vectors/SDP/\(name).sdp")
    }

    static let offers = [
        "chromium156-avd", "chromium156-recvonly", "firefox153-avd", "firefox153-recvonly",
        "aiortc116-avd", "pion4-avd",
    ]

    @Test(
        "real offers are accepted whole, with their payload types, extension ids, and retransmission",
        arguments: offers
    )
    func real(name: String) throws {
        let pair = try NegotiatorPair()
        let text = Self.vector(name)
        let offer = try SessionDescription(parsing: text)
        let outcome = try pair.grace.setRemoteDescription(.offer, text: text)
        #expect(outcome.remoteTransport?.usernameFragment == offer.media[0].iceUsernameFragment)
        #expect(outcome.tracks.count == offer.media.count { $0.kind != "application" && $0.direction.sends })
        let answer = try SessionDescription(
            parsing: try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        )
        let answered = try pair.grace.setLocalDescription(.answer, text: nil)
        #expect(answer.media.map(\.mid) == offer.media.map(\.mid))
        #expect(answer.media.map(\.kind) == offer.media.map(\.kind))
        #expect(answer.media.map(\.transport) == offer.media.map(\.transport))
        #expect(answer.bundleGroups == offer.bundleGroups)
        #expect(answered.dtlsRole == .client)
        for (ours, theirs) in zip(answer.media, offer.media) {
            #expect(!ours.isRejected)
            #expect(ours.setup == .active)
            for codec in ours.codecs {
                let offered = theirs.codecs.first { $0.payloadType == codec.payloadType }
                #expect(offered?.name.lowercased() == codec.name.lowercased())
                #expect(Set(codec.feedback).isSubset(of: offered?.feedback ?? []))
            }
            for map in ours.extensionMaps {
                #expect(theirs.extensionMaps.contains { $0.id == map.id && $0.uri == map.uri })
            }
            if ours.kind == "video" {
                #expect(ours.codecs.map(\.name) == ["VP8", "rtx"])
                #expect(ours.codecs[1].parameters["apt"] == String(ours.codecs[0].payloadType))
                #expect(ours.codecs[0].feedback.contains("nack"))
                #expect(ours.codecs[0].feedback.contains("nack pli"))
            }
            if ours.kind == "audio" { #expect(ours.codecs.first?.name.lowercased() == "opus") }
        }
    }

    @Test("a section of only unknown codecs is refused and the rest goes on")
    func unknownCodecs() throws {
        let pair = try NegotiatorPair()
        let text = Offer.session(
            bundle: "0 1 2",
            Offer.audio(),
            Offer.video(codec: "H266/90000"),
            Offer.data()
        )
        let outcome = try pair.grace.setRemoteDescription(.offer, text: text)
        #expect(outcome.tracks.count == 1, "no track is announced that will never come")
        let answer = try SessionDescription(
            parsing: try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        )
        let answered = try pair.grace.setLocalDescription(.answer, text: nil)
        #expect(answer.media.map(\.port) == [9, 0, 9])
        #expect(answer.media[1].formats == ["96"])
        #expect(answer.bundleGroups == [["0", "2"]])
        #expect(answered.data != nil)
        #expect(answered.receives.contains { $0.mid == "1" && $0.parameters == nil })
        #expect(pair.grace.transceivers.map(\.isStopped) == [false, true])
    }

    @Test("the first section may be the refused one: the transport is that of the first accepted one")
    func firstSectionRefused() throws {
        let pair = try NegotiatorPair()
        let own = Offer.transport.replacing("abcd", with: "efgh")
        let text = Offer.session(
            bundle: "0 1",
            Offer.video("0", codec: "H266/90000"),
            Offer.audio("1", transport: own, "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n")
        )
        let outcome = try pair.grace.setRemoteDescription(.offer, text: text)
        #expect(outcome.remoteTransport?.usernameFragment == "efgh")
        #expect(outcome.remoteTransport?.candidates.count == 1)
        let answer = try SessionDescription(
            parsing: try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        )
        #expect(answer.media.map(\.isRejected) == [true, false])
        #expect(answer.bundleGroups == [["1"]])
    }

    @Test("nothing acceptable at all is an answer that refuses all, and the session stays usable")
    func nothingAcceptable() throws {
        let pair = try NegotiatorPair()
        let answer = try pair.answer(
            to: Offer.session(
                bundle: "1",
                Offer.video(codec: "H266/90000"),
                "m=text 9 UDP/TLS/RTP/SAVPF 98\na=mid:t\n",
                "m=image 9 udptl t38\n",
                "m=application 9 UDP/BFCP *\n",
                "m=audio 9 RTP/AVP 0\n",
                "m=x 1 y z\n"
            )
        )
        #expect(answer.media.map(\.isRejected) == Array(repeating: true, count: 6))
        #expect(
            answer.media.map(\.transport) == [
                "UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "udptl", "UDP/BFCP", "RTP/AVP", "y",
            ]
        )
        #expect(answer.bundleGroups == [])
        // Our next offer repeats their lines as they were, and uses refused ones again.
        pair.grace.addTrack(.audio)
        let offer = try SessionDescription(
            parsing: pair.grace.createOffer(credentials: NegotiatorPair.graceCredentials)
        )
        #expect(offer.media.map(\.kind) == ["audio", "text", "image", "application", "audio", "x"])
        #expect(offer.media[3].transport == "UDP/BFCP")
        #expect(offer.media[2].formats == ["t38"])
        #expect(offer.media.map(\.isRejected) == [false, true, true, true, true, true])
        #expect(Set(offer.media.compactMap(\.mid)).count == 6)
    }

    @Test("a description that lacks what is needed says what and where, and is refused before anything changes")
    func missing() throws {
        let pair = try NegotiatorPair()
        func without(_ line: String) -> String {
            Offer.session(bundle: "0", Offer.audio()).split(separator: "\n").filter { !$0.hasPrefix("a=\(line)") }
                .joined(separator: "\n")
        }
        #expect(pair.error(without("ice-ufrag")) == .missing("a=ice-ufrag in m-section 0 (audio)"))
        #expect(pair.error(without("ice-pwd")) == .missing("a=ice-pwd in m-section 0 (audio)"))
        #expect(pair.error(without("fingerprint")) == .missing("a usable a=fingerprint in m-section 0 (audio)"))
        #expect(pair.error(without("setup")) == .missing("a=setup in m-section 0 (audio)"))
        let sha1 = "sha-1 " + Array(repeating: "AB", count: 20).joined(separator: ":")
        #expect(
            pair.error(Offer.session(bundle: "0", Offer.audio().replacing(Offer.fingerprint, with: sha1)))
                == .missing("a usable a=fingerprint in m-section 0 (audio)")
        )
        #expect(
            pair.error(Offer.session(bundle: "0 7", Offer.audio()))?.description
                == "a=group:BUNDLE names the mid 7, which is not there"
        )
        #expect(
            pair.error(Offer.session(bundle: "0", Offer.audio(), Offer.video("0")))?.description
                == "two m-sections have the mid 0"
        )
        #expect(pair.error("hello")?.description == "line 1: expected \"x=…\"")
        #expect(pair.grace.transceivers.isEmpty)
        #expect(pair.grace.signalingState == .stable)
        #expect(pair.error(Offer.session(bundle: "0", Offer.audio().replacing("a=rtcp-mux\n", with: ""))) == nil)
        let answer = try SessionDescription(
            parsing: try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        )
        #expect(answer.media[0].isRejected, "without rtcp-mux there is no place for RTCP")
    }

    @Test("answers that do not fit the offer")
    func wrongAnswers() throws {
        let pair = try NegotiatorPair()
        pair.grace.addTrack(.audio)
        pair.grace.needsDataSection()
        _ = pair.grace.createOffer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.offer, text: nil)
        let active = Offer.transport.replacing("actpass", with: "active")
        let audio = Offer.audio(transport: active), data = Offer.data("1", transport: active)
        #expect(
            pair.error(Offer.session(bundle: "0", audio), .answer)?.description
                == "the answer has 1 m-sections, the offer 2"
        )
        #expect(pair.error(Offer.session(bundle: "0 1", data, audio), .answer) != nil)
        #expect(pair.error(Offer.session(bundle: "0 5", audio, Offer.data("5", transport: active)), .answer) != nil)
        #expect(
            pair.error(Offer.session(bundle: "0 1", Offer.audio(), data), .answer)?.description.contains(
                "a=setup:actpass"
            ) == true
        )
        #expect(pair.error(Offer.session(bundle: "0", audio, data), .answer)?.description.contains("BUNDLE") == true)
        #expect(pair.error(Offer.session(bundle: nil, audio, data), .answer)?.description.contains("BUNDLE") == true)
        #expect(
            pair.error(Offer.session(bundle: "0 1", audio.replacing("a=rtcp-mux\n", with: ""), data), .answer)
                == .missing("a=rtcp-mux in m-section 0 (audio)")
        )
        #expect(pair.grace.signalingState == .haveLocalOffer)
        #expect(pair.error(Offer.session(bundle: "0 1", audio, data), .answer) == nil)
        #expect(pair.grace.signalingState == .stable)
    }

    @Test("an answer may refuse a section, or all")
    func refusingAnswers() throws {
        for all in [false, true] {
            let pair = try NegotiatorPair()
            let audio = pair.grace.addTrack(.audio)
            pair.grace.needsDataSection()
            _ = pair.grace.createOffer(credentials: NegotiatorPair.graceCredentials)
            _ = try pair.grace.setLocalDescription(.offer, text: nil)
            let refusedAudio = "m=audio 0 UDP/TLS/RTP/SAVPF 111\n",
                refusedData = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\n"
            let data = Offer.data("1", transport: Offer.transport.replacing("actpass", with: "passive"))
            let outcome = try pair.grace.setRemoteDescription(
                .answer,
                text: all
                    ? Offer.session(bundle: nil, refusedAudio, refusedData)
                    : Offer.session(bundle: "1", refusedAudio, data)
            )
            #expect(pair.grace.transceiver(audio)?.isStopped == true)
            #expect((outcome.data == nil) == all)
            #expect((outcome.remoteTransport == nil) == all)
            #expect(outcome.dtlsRole == (all ? nil : .client))
        }
    }

    @Test(
        "an offer's role is answered by the other one",
        arguments: [("actpass", SDPSetup.active), ("active", .passive), ("passive", .active)]
    )
    func roles(offered: String, answered: SDPSetup) throws {
        let pair = try NegotiatorPair()
        let text = Offer.session(
            bundle: "2",
            Offer.data(transport: Offer.transport.replacing("actpass", with: offered))
        )
        #expect(try pair.answer(to: text).media[0].setup == answered)
    }

    @Test("bundled sections may leave the transport to the first one, bundle-only ones included")
    func bundleOnly() throws {
        let pair = try NegotiatorPair()
        let video = "m=video 0 UDP/TLS/RTP/SAVPF 96\na=mid:1\na=bundle-only\na=rtpmap:96 VP8/90000\n"
        let answer = try pair.answer(
            to: Offer.session(bundle: "0 1 2", Offer.audio(), video, Offer.data(transport: ""))
        )
        #expect(answer.media.map(\.isRejected) == [false, false, false])
        #expect(answer.media.map(\.setup) == [.active, .active, .active])
        #expect(answer.bundleGroups == [["0", "1", "2"]])
    }

    @Test("without BUNDLE, or outside of the group, only the first transport's sections are accepted")
    func notBundled() throws {
        let apart = try NegotiatorPair().answer(to: Offer.session(bundle: nil, Offer.audio(), Offer.video()))
        #expect(apart.media.map(\.isRejected) == [false, true])
        let outside = try NegotiatorPair().answer(
            to: Offer.session(bundle: "0 2", Offer.audio(), Offer.video(), Offer.data())
        )
        #expect(outside.media.map(\.isRejected) == [false, true, false])
        #expect(outside.bundleGroups == [["0", "2"]])
    }

    @Test("sections without a mid get ones that nobody has")
    func missingMids() throws {
        let pair = try NegotiatorPair()
        let audio = Offer.audio("x").replacing("a=mid:x\n", with: "")
        let answer = try pair.answer(to: Offer.session(bundle: "0", audio, Offer.video("0")))
        #expect(Set(answer.media.compactMap(\.mid)).count == 2)
        #expect(answer.media[1].mid == "0")
        // The same section again, and nothing new is made.
        let alone = try NegotiatorPair()
        _ = try alone.answer(to: Offer.session(bundle: nil, audio))
        #expect(try alone.grace.setRemoteDescription(.offer, text: Offer.session(bundle: nil, audio)).added == [])
    }

    @Test("a re-offer must keep the m-sections that there are")
    func changedSections() throws {
        let pair = try NegotiatorPair()
        _ = try pair.answer(to: Offer.session(bundle: "0 1", Offer.audio(), Offer.video()))
        #expect(
            pair.error(Offer.session(bundle: "0", Offer.audio()))?.description
                == "the offer has 1 m-sections, the session has 2"
        )
        #expect(
            pair.error(Offer.session(bundle: "5 1", Offer.audio("5"), Offer.video()))?.description
                == "m-section 0 has the mid 5, in the session it is 0"
        )
        #expect(
            pair.error(Offer.session(bundle: "0 1", Offer.video("0"), Offer.video()))?.description
                == "m-section 0 changes its kind to video"
        )
        #expect(pair.error(Offer.session(bundle: "0 1", Offer.audio(), Offer.video())) == nil)
    }

    @Test("payload types of an answer that differ from the offer's: each side sends what the other named")
    func asymmetricPayloadTypes() throws {
        let pair = try NegotiatorPair()
        pair.grace.addTrack(.video)
        _ = pair.grace.createOffer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.offer, text: nil)
        let answer = Offer.video("0", transport: Offer.transport.replacing("actpass", with: "active"))
            .replacing("SAVPF 96", with: "SAVPF 120").replacing("rtpmap:96", with: "rtpmap:120")
        let outcome = try pair.grace.setRemoteDescription(.answer, text: Offer.session(bundle: "0", answer))
        #expect(outcome.sends[0].parameters?.codec.payloadType == 120)
        #expect(outcome.sends[0].parameters?.codec.rtxPayloadType == nil)
        #expect(outcome.receives[0].parameters?.codecs.map(\.payloadType) == [96])
    }

    @Test("FEC, comfort noise and telephone events are left out; retransmission goes with its codec alone")
    func repairCodecs() throws {
        let offer = Offer.session(
            bundle: "1",
            "m=video 9 UDP/TLS/RTP/SAVPF 100 101 116 117 118 96 97 119\na=mid:1\n\(Offer.transport)a=rtcp-mux\na=rtpmap:100 VP9/90000\n"
                + "a=rtpmap:101 rtx/90000\na=fmtp:101 apt=100\na=rtpmap:116 red/90000\na=rtpmap:117 ulpfec/90000\na=rtpmap:118 flexfec-03/90000\n"
                + "a=rtpmap:96 VP8/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96;rtx-time=3000\na=rtpmap:119 rtx/90000\na=fmtp:119 apt=116\n"
        )
        let answer = try NegotiatorPair().answer(to: offer)
        #expect(answer.media[0].formats == ["96", "97"])
        let audio = try NegotiatorPair().answer(
            to: Offer.session(
                bundle: "0",
                Offer.audio("0", "a=rtpmap:13 CN/8000\na=rtpmap:126 telephone-event/8000\n").replacing(
                    "SAVPF 111 0",
                    with: "SAVPF 126 13 0 111"
                )
            )
        )
        #expect(audio.media[0].formats == ["0", "111"], "in the offer's order")
    }

    @Test("extension ids are the offer's; a doubled id or URI counts once")
    func extensions() throws {
        let mid = "urn:ietf:params:rtp-hdrext:sdes:mid", level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
        let answer = try NegotiatorPair().answer(
            to: Offer.session(
                bundle: "0",
                Offer.audio(
                    "0",
                    "a=extmap:9 \(mid)\na=extmap:10 \(mid)\na=extmap:9 \(level)\na=extmap:12 urn:unknown\n"
                )
            )
        )
        #expect(answer.media[0].extensionMaps == [SDPExtensionMap(id: 9, uri: mid)])
    }

    @Test("thousands of candidates are read in no time worth mentioning and each once")
    func manyCandidates() throws {
        let pair = try NegotiatorPair()
        let lines = (0..<500).map { "a=candidate:\($0) 1 udp 1 192.0.2.1 9 typ host\n" }.joined()
        let sections = (0..<20).map { Offer.audio("\($0)", lines) }.joined()
        let mids = (0..<20).map(String.init).joined(separator: " ")
        let outcome = try pair.grace.setRemoteDescription(.offer, text: Offer.session(bundle: mids, sections))
        #expect(outcome.remoteTransport?.candidates.count == 500)
    }

    @Test("changed offers are answered or refused, and never both", arguments: 0..<6)
    func mutation(seed: UInt64) throws {
        let random = RandomSource(seed: seed)
        let texts = Self.offers.map { Self.vector($0) }
        for _ in 0..<20 {
            let pair = try NegotiatorPair()
            pair.grace.addTrack(.audio)
            for _ in 0..<3 {
                var lines = texts[Int(random.next() % UInt64(texts.count))].split(separator: "\r\n").map(String.init)
                for _ in 0...(random.next() % 6) {
                    let at = Int(random.next() % UInt64(lines.count)), other = Int(random.next() % UInt64(lines.count))
                    switch random.next() % 4 {
                    case 0: lines.remove(at: at)
                    case 1: lines.insert(lines[other], at: at)
                    case 2: lines.swapAt(at, other)
                    default: lines[at] = String(lines[at].prefix(Int(random.next() % 40)))
                    }
                }
                guard pair.error(lines.joined(separator: "\r\n")) == nil else { continue }
                let answer = try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
                let session = try SessionDescription(parsing: answer)
                #expect(session.media.count == pair.grace.pendingRemote?.session.media.count, "seed \(seed)")
                if random.next() % 3 == 0 {
                    _ = try pair.grace.setLocalDescription(.rollback, text: nil)
                } else {
                    _ = try pair.grace.setLocalDescription(.answer, text: nil)
                }
                let offer = try SessionDescription(
                    parsing: pair.grace.createOffer(credentials: NegotiatorPair.graceCredentials)
                )
                #expect(Set(offer.media.compactMap(\.mid)).count == offer.media.count, "seed \(seed)")
            }
        }
    }
}
