import PeerEngine
import RTP
import SDP
import Testing

@Suite("Negotiation: H.264 where a track gives it")
struct NegotiatorH264 {
    private func names(_ media: MediaDescription) -> [String] { media.codecs.map(\.name) }

    private func makeVideo(_ negotiator: Negotiator, _ place: H264Place) -> TransceiverID {
        let id = negotiator.addTransceiver(
            kind: .video,
            direction: .sendrecv,
            trackID: "t",
            streamIDs: ["s"],
            wasAddedByTrack: true
        )
        negotiator.setH264(place, of: id)
        return id
    }

    @Test("it is listed only where it is wanted, behind what can be decoded")
    func listed() throws {
        let pair = try NegotiatorPair()
        _ = makeVideo(pair.ada, .none)
        _ = makeVideo(pair.ada, .afterOthers)
        let made = try pair.exchange()
        #expect(names(made.offer.media[0]) == ["VP8", "rtx"])
        #expect(names(made.offer.media[1]) == ["VP8", "rtx", "H264", "rtx"])
        let codec = made.offer.media[1].codecs[2]
        #expect(codec.fmtp == "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
        #expect(made.offer.media[1].codecs[3].fmtp == "apt=\(codec.payloadType)")
        // The answerer has no use for it.
        #expect(names(made.answer.media[1]) == ["VP8", "rtx"])
        #expect(made.accepted.sends[1].parameters?.codecs.map(\.codec) == [.vp8])
    }

    @Test("both sides agree: it can be sent, and VP8 is until the track says otherwise")
    func agreed() throws {
        let pair = try NegotiatorPair()
        _ = makeVideo(pair.ada, .afterOthers)
        _ = makeVideo(pair.grace, .afterOthers)
        let made = try pair.exchange()
        #expect(names(made.answer.media[0]) == ["VP8", "rtx", "H264", "rtx"])
        for outcome in [made.accepted, made.answered] {
            let parameters = try #require(outcome.sends[0].parameters)
            #expect(parameters.codec.codec == .vp8)
            #expect(parameters.codecs.map(\.codec) == [.vp8, .h264])
            #expect(parameters.codecs.map(\.rtxPayloadType) == [97, 99])
            #expect(parameters.codecs[1].fmtp["packetization-mode"] == "1")
            #expect(outcome.receives[0].parameters?.codecs.map(\.codec) == [.vp8, .h264])
        }
    }

    @Test("what a side wants to receive comes first in its description, whatever the other's order")
    func order() throws {
        for (offered, wanted, answer) in [
            (H264Place.first, H264Place.afterOthers, ["VP8", "rtx", "H264", "rtx"]),
            (.afterOthers, .first, ["H264", "rtx", "VP8", "rtx"]),
        ] {
            let pair = try NegotiatorPair()
            _ = makeVideo(pair.ada, offered)
            _ = makeVideo(pair.grace, wanted)
            let made = try pair.exchange()
            #expect(
                names(made.offer.media[0])
                    == (offered == .first ? ["H264", "rtx", "VP8", "rtx"] : ["VP8", "rtx", "H264", "rtx"])
            )
            #expect(names(made.answer.media[0]) == answer)
        }
    }

    /// An offer of H.264 alone with these parameters, as Grace answers it.
    private func answer(_ fmtp: String?, place: H264Place = .afterOthers) throws -> MediaDescription {
        let pair = try NegotiatorPair()
        _ = makeVideo(pair.ada, .afterOthers)
        _ = makeVideo(pair.grace, place)
        let offer = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        var lines: [String] = []
        for line in offer.split(separator: "\r\n").map(String.init) {
            if line.hasPrefix("m=video") {
                lines.append("m=video 9 UDP/TLS/RTP/SAVPF 98")
            } else if line.hasPrefix("a=fmtp:98") {
                if let fmtp { lines.append("a=fmtp:98 \(fmtp)") }
            } else if ["96", "97", "99"].contains(where: { line.contains(":\($0) ") }) {
                continue
            } else {
                lines.append(line)
            }
        }
        return try pair.answer(to: lines.joined(separator: "\r\n") + "\r\n").media[0]
    }

    @Test(
        "mode and profile must be the same, the level is this side's own or the lower one (RFC 6184 §8.2.2)",
        arguments: [
            ("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", "42e01f"),
            ("profile-level-id=42E034; packetization-mode=1; level-asymmetry-allowed=1", "42e01f"),
            ("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c00b", "42e01f"),
            // Main and extended with the bits that leave only what baseline has.
            ("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d801f", "42e01f"),
            ("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=58c01f", "42e01f"),
            // Without asymmetry the lower level holds.
            ("packetization-mode=1;profile-level-id=42e034", "42e01f"),
            ("packetization-mode=1;profile-level-id=42e00d", "42e00d"),
            ("level-asymmetry-allowed=0;packetization-mode=1;profile-level-id=42f00b", "42f00b"),
        ]
    )
    func sameFormat(fmtp: String, profile: String) throws {
        let media = try answer(fmtp)
        #expect(!media.isRejected)
        #expect(
            media.codecs.first?.fmtp == "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=\(profile)"
        )
    }

    @Test(
        "another mode or profile, or nonsense, is refused",
        arguments: [
            nil, "packetization-mode=0;profile-level-id=42e01f", "profile-level-id=42e01f", "packetization-mode=1",
            "packetization-mode=1;profile-level-id=42001f", "packetization-mode=1;profile-level-id=4d001f",
            "packetization-mode=1;profile-level-id=64001f", "packetization-mode=1;profile-level-id=42e0",
            "packetization-mode=1;profile-level-id=zzzzzz", "packetization-mode=9;profile-level-id=42e01f",
            "packetization-mode=99999999999999999999;profile-level-id=42e01f",
            "packetization-mode=1;profile-level-id=+2e01f",
            "packetization-mode=1;profile-level-id=42e11f",
        ] as [String?]
    )
    func otherFormat(fmtp: String?) throws {
        #expect(try answer(fmtp).isRejected)
    }

    @Test("without a track that gives it, an offer of H.264 alone is refused")
    func alone() throws {
        let fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
        #expect(try answer(fmtp, place: .none).isRejected)
        #expect(try !answer(fmtp, place: .first).isRejected)
    }

    @Test("of the formats that a browser offers, the one that fits is taken, with its numbers")
    func browser() throws {
        let pair = try NegotiatorPair()
        _ = makeVideo(pair.ada, .none)
        _ = makeVideo(pair.grace, .afterOthers)
        let made = try pair.exchange(changeOffer: { offer in
            offer.replacing("SAVPF 96 97", with: "SAVPF 96 97 102 103 108 109 127 125").replacing(
                "a=fmtp:97 apt=96\r\n",
                with: "a=fmtp:97 apt=96\r\n"
                    + [(102, 103, "1", "42001f"), (108, 109, "0", "42e01f"), (127, 125, "1", "42e01f")].map {
                        "a=rtpmap:\($0.0) H264/90000\r\na=rtcp-fb:\($0.0) nack\r\na=rtcp-fb:\($0.0) nack pli\r\n"
                            + "a=fmtp:\($0.0) level-asymmetry-allowed=1;packetization-mode=\($0.2);profile-level-id=\($0.3)\r\n"
                            + "a=rtpmap:\($0.1) rtx/90000\r\na=fmtp:\($0.1) apt=\($0.0)\r\n"
                    }.joined()
            )
        })
        #expect(made.answer.media[0].codecs.map(\.payloadType) == [96, 97, 127, 125])
        let codec = try #require(made.answered.sends[0].parameters?.codecs.last)
        #expect((codec.payloadType, codec.rtxPayloadType) == (127, 125))
        #expect(codec.feedback.nackPLI && !codec.feedback.transportCC)
    }

    @Test("a track that gives it later has it in the next offer, with numbers that nothing else has")
    func later() throws {
        let pair = try NegotiatorPair()
        let id = makeVideo(pair.ada, .none)
        let other = makeVideo(pair.grace, .afterOthers)
        try pair.exchange()
        pair.ada.setH264(.afterOthers, of: id)
        let second = try pair.exchange()
        #expect(names(second.offer.media[0]) == ["VP8", "rtx", "H264", "rtx"])
        let types = second.offer.media[0].codecs.map(\.payloadType)
        #expect(Set(types).count == 4)
        #expect(second.accepted.sends[0].parameters?.codecs.map(\.codec) == [.vp8, .h264])
        // The other side offers the same numbers.
        let third = try pair.exchange(from: pair.grace)
        #expect(third.offer.media[0].codecs.map(\.payloadType) == types)
        pair.ada.setH264(.none, of: id)
        pair.grace.setH264(.none, of: other)
        #expect(names(try pair.exchange().offer.media[0]) == ["VP8", "rtx"])
    }
}
