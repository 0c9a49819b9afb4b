import DTLS
import ICE
import PeerEngine
import RTP
import SDP
import Testing

@Suite("Negotiation: offers and answers")
struct NegotiatorExchanges {
    @Test("each side sends as the other's a=fmtp asks, whatever its own says")
    func parametersOfThePeer() throws {
        let pair = try NegotiatorPair()
        _ = pair.ada.addTrack(.audio, "a")
        let made = try pair.exchange(
            beforeAnswer: { grace in
                for transceiver in grace.transceivers { grace.setDirection(.sendrecv, of: transceiver.id) }
            },
            changeOffer: { $0.replacing("useinbandfec=1", with: "useinbandfec=1;UseDTX=1") }
        )
        #expect(made.offered.sends.isEmpty)
        #expect(made.answered.sends.first?.parameters?.codec.fmtp["usedtx"] == "1")
        #expect(made.accepted.sends.first?.parameters?.codec.fmtp["usedtx"] == nil)
        #expect(made.accepted.sends.first?.parameters?.codec.fmtp["useinbandfec"] == "1")
    }

    @Test("audio, video and data both ways: one bundle, rtcp-mux, roles, directions, streams")
    func everything() throws {
        let pair = try NegotiatorPair()
        let audio = pair.ada.addTrack(.audio, "a"), video = pair.ada.addTrack(.video, "v")
        pair.ada.needsDataSection()
        #expect(pair.ada.isNegotiationNeeded)
        let made = try pair.exchange { grace in
            for transceiver in grace.transceivers {
                grace.setDirection(.sendrecv, of: transceiver.id)
                grace.setTrack("g", streamIDs: ["s"], of: transceiver.id)
            }
        }
        #expect(made.offer.media.map(\.kind) == ["audio", "video", "application"])
        #expect(made.offer.bundleGroups == [["0", "1", "2"]])
        #expect(made.answer.bundleGroups == [["0", "1", "2"]])
        #expect(made.offer.media.map(\.setup) == [.actpass, .actpass, .actpass])
        #expect(made.answer.media.map(\.setup) == [.active, .active, .active])
        #expect(
            (made.offer.media + made.answer.media).allSatisfy {
                $0.isRTCPMux == ($0.kind != "application") && $0.port == 9
            }
        )
        #expect(made.answer.media.map(\.iceUsernameFragment) == Array(repeating: "graceU", count: 3))
        #expect(made.offered.remoteTransport?.usernameFragment == "adaU")
        #expect(made.offered.remoteTransport?.isRestart == false)
        #expect(
            (made.offer.media + made.answer.media).allSatisfy {
                $0.iceOptions == ["trickle", "renomination", "renomination2"]
            }
        )
        #expect(made.offered.remoteTransport?.renomination == .draft)
        #expect(made.accepted.remoteTransport?.renomination == .draft)
        #expect(made.accepted.remoteTransport?.usernameFragment == "graceU")
        #expect(made.answered.dtlsRole == .client)
        #expect(made.accepted.dtlsRole == .server)
        #expect(made.answered.data?.remotePort == 5000)
        #expect(made.answered.data?.remoteMaxMessageSize == 262_144)
        #expect(made.accepted.data == made.answered.data)
        #expect(made.offered.added.count == 2)
        #expect(made.offered.tracks.map(\.streamIDs) == [["stream"], ["stream"]])
        #expect(made.accepted.tracks.map(\.id) == [audio, video])
        #expect(made.accepted.tracks.map(\.streamIDs) == [["s"], ["s"]])
        for negotiator in [pair.ada, pair.grace] {
            #expect(negotiator.signalingState == .stable)
            #expect(negotiator.transceivers.map(\.currentDirection) == [.sendrecv, .sendrecv])
            #expect(negotiator.transceivers.map(\.mid) == ["0", "1"])
            #expect(!negotiator.isNegotiationNeeded)
        }
        let sends = made.accepted.sends.compactMap(\.parameters)
        let receives = made.answered.receives.compactMap(\.parameters)
        #expect(sends.map(\.codec.codec) == [.opus, .vp8])
        #expect(sends[1].codec.rtxPayloadType == 97)
        #expect(receives[1].ssrcs == [sends[1].ssrc])
        #expect(receives[1].rtxSSRCs[sends[1].ssrc] == sends[1].rtxSSRC)
        #expect(
            sends[1].codec.feedback
                == RTPFeedback(nack: true, nackPLI: true, ccmFIR: true, googREMB: true, transportCC: true)
        )
    }

    @Test("data alone, and the other side offers next")
    func dataThenBack() throws {
        let pair = try NegotiatorPair()
        pair.ada.needsDataSection()
        let first = try pair.exchange()
        #expect(first.answer.media.map(\.kind) == ["application"])
        pair.grace.addTrack(.video)
        #expect(pair.grace.isNegotiationNeeded)
        #expect(!pair.ada.isNegotiationNeeded)
        let second = try pair.exchange(from: pair.grace)
        #expect(second.offer.media.map(\.kind) == ["application", "video"])
        #expect(second.offer.sessionVersion > first.answer.sessionVersion)
        #expect(second.answer.media.map(\.direction)[1] == .recvonly)
        // The roles stay, although the other side offers.
        #expect(second.answer.media.map(\.setup) == [.passive, .passive])
        #expect(second.accepted.dtlsRole == .client)
        #expect(second.offered.remoteTransport?.isRestart == false)
        #expect(second.offered.added.count == 1)
    }

    @Test(
        "the answer's direction is what both want",
        arguments: [SDPDirection.sendrecv, .sendonly, .recvonly, .inactive]
    )
    func directions(offered: SDPDirection) throws {
        for wanted in [SDPDirection.sendrecv, .sendonly, .recvonly, .inactive] {
            let pair = try NegotiatorPair()
            let id = pair.ada.addTransceiver(
                kind: .audio,
                direction: offered,
                trackID: "t",
                streamIDs: ["s"],
                wasAddedByTrack: true
            )
            let made = try pair.exchange { grace in
                for transceiver in grace.transceivers {
                    grace.setDirection(wanted, of: transceiver.id)
                    grace.setTrack("t", streamIDs: [], of: transceiver.id)
                }
            }
            let sends = offered.sends && wanted.receives, receives = offered.receives && wanted.sends
            #expect(made.answer.media[0].direction == SDPDirection(sends: receives, receives: sends))
            #expect(pair.ada.transceiver(id)?.currentDirection == SDPDirection(sends: sends, receives: receives))
            #expect((made.accepted.sends[0].parameters != nil) == sends)
            #expect((made.accepted.receives[0].parameters != nil) == receives)
            #expect((made.answered.sends[0].parameters != nil) == receives)
            #expect(made.offered.tracks.isEmpty == !offered.sends)
            #expect(made.answer.media[0].msids.isEmpty == !receives)
        }
    }

    @Test("a track that was added before the offer came takes its m-section; a transceiver does not")
    func association() throws {
        let pair = try NegotiatorPair()
        pair.ada.addTrack(.audio)
        let video = pair.grace.addTransceiver(
            kind: .video,
            direction: .sendrecv,
            trackID: "",
            streamIDs: [],
            wasAddedByTrack: false
        )
        let own = pair.grace.addTransceiver(
            kind: .audio,
            direction: .sendrecv,
            trackID: "",
            streamIDs: [],
            wasAddedByTrack: false
        )
        let track = pair.grace.addTrack(.audio)
        let made = try pair.exchange()
        #expect(made.offered.added == [])
        #expect(pair.grace.transceiver(track)?.mid == "0")
        #expect(pair.grace.transceiver(track)?.currentDirection == .sendrecv)
        #expect(pair.grace.transceiver(own)?.mid == nil)
        #expect(pair.grace.transceiver(video)?.mid == nil)
        #expect(pair.grace.isNegotiationNeeded, "the others still want m-sections")
    }

    @Test("a re-offer adds a track and leaves the rest as it is")
    func addingLater() throws {
        let pair = try NegotiatorPair()
        let audio = pair.ada.addTrack(.audio)
        try pair.exchange()
        pair.ada.addTrack(.video)
        #expect(pair.ada.isNegotiationNeeded)
        let made = try pair.exchange()
        #expect(made.offer.media.map(\.mid) == ["0", "1"])
        #expect(made.offered.added.count == 1)
        #expect(made.offered.tracks.count == 1)
        #expect(pair.ada.transceiver(audio)?.mid == "0")
        #expect(made.offered.endedTracks == [])
    }

    @Test("a direction that changes ends the other side's track and brings it back")
    func pausing() throws {
        let pair = try NegotiatorPair()
        let audio = pair.ada.addTrack(.audio)
        try pair.exchange()
        pair.ada.setDirection(.inactive, of: audio)
        #expect(pair.ada.isNegotiationNeeded)
        let paused = try pair.exchange()
        #expect(paused.offered.endedTracks.count == 1)
        #expect(paused.answered.receives[0].parameters == nil)
        pair.ada.setDirection(.sendrecv, of: audio)
        let resumed = try pair.exchange()
        #expect(resumed.offered.tracks.count == 1)
        #expect(!pair.ada.isNegotiationNeeded)
    }

    @Test("a stopped transceiver: port 0 once, both sides stop, and nothing more is needed")
    func stopping() throws {
        let pair = try NegotiatorPair()
        let audio = pair.ada.addTrack(.audio)
        let video = pair.ada.addTrack(.video)
        try pair.exchange()
        pair.ada.stop(audio)
        #expect(pair.ada.isNegotiationNeeded)
        let made = try pair.exchange()
        #expect(made.offer.media.map(\.isRejected) == [true, false])
        #expect(made.offer.bundleGroups == [["1"]])
        #expect(made.answer.media.map(\.isRejected) == [true, false])
        #expect(made.offered.endedTracks.count == 1)
        #expect(made.accepted.sends.contains { $0.id == audio && $0.parameters == nil })
        #expect(made.answered.receives.contains { $0.mid == "0" && $0.parameters == nil })
        #expect(pair.grace.transceivers.first?.isStopped == true)
        #expect(!pair.ada.isNegotiationNeeded)
        #expect(!pair.grace.isNegotiationNeeded)
        #expect(pair.ada.transceiver(video)?.currentDirection == .sendonly)
        #expect(
            pair.ada.transportPlace?.mid == "1",
            "the transport's candidates now belong to the first section that lives"
        )
    }

    @Test("the m-section of a stopped transceiver is used again, with a new mid, for another kind too")
    func recycling() throws {
        let pair = try NegotiatorPair()
        let audio = pair.ada.addTrack(.audio)
        pair.ada.needsDataSection()
        try pair.exchange()
        pair.ada.stop(audio)
        pair.ada.addTrack(.video, "new")
        // Not in the offer that says so: the other side does not know yet.
        let stopping = try pair.exchange()
        #expect(stopping.offer.media.map(\.mid) == ["0", "1", "2"])
        pair.ada.addTrack(.video, "next")
        let recycled = try pair.exchange()
        #expect(recycled.offer.media.map(\.mid) == ["3", "1", "2"])
        #expect(recycled.offer.media.map(\.kind) == ["video", "application", "video"])
        #expect(recycled.offered.added.count == 1)
        #expect(recycled.answer.media.allSatisfy { !$0.isRejected })
        #expect(pair.grace.transceivers.filter { !$0.isStopped }.map(\.mid) == ["2", "3"])
        // And by the other side.
        pair.ada.stop(try #require(pair.ada.transceivers.first { $0.mid == "3" }?.id))
        try pair.exchange()
        pair.grace.addTrack(.audio)
        let back = try pair.exchange(from: pair.grace)
        #expect(back.offer.media.map(\.kind) == ["audio", "application", "video"])
        #expect(back.answer.media.allSatisfy { !$0.isRejected })
    }

    @Test("the answerer refuses what it stopped; the offerer's transceiver stops too")
    func answererStops() throws {
        let pair = try NegotiatorPair()
        pair.ada.addTrack(.audio)
        let video = pair.ada.addTrack(.video)
        let made = try pair.exchange { grace in grace.stop(grace.transceivers[1].id) }
        #expect(made.answer.media.map(\.isRejected) == [false, true])
        #expect(made.answer.bundleGroups == [["0"]])
        #expect(pair.ada.transceiver(video)?.isStopped == true)
        #expect(made.answered.endedTracks.count == 1)
        #expect(!pair.ada.isNegotiationNeeded)
        #expect(!pair.grace.isNegotiationNeeded)
    }

    @Test("an ICE restart is told by new credentials")
    func restarts() throws {
        let pair = try NegotiatorPair()
        pair.ada.needsDataSection()
        try pair.exchange()
        let again = try pair.exchange()
        #expect(again.offered.remoteTransport?.isRestart == false)
        let restarted = try pair.exchange(changeOffer: { $0.replacing("adaU", with: "newU") })
        #expect(restarted.offered.remoteTransport?.isRestart == true)
        #expect(restarted.offered.remoteTransport?.usernameFragment == "newU")
    }

    @Test("offers made without being set change neither mids nor versions")
    func unusedOffers() throws {
        let pair = try NegotiatorPair()
        pair.ada.addTrack(.audio)
        let first = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        for _ in 0..<10 { #expect(pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials) == first) }
        pair.ada.addTrack(.video)
        let second = try SessionDescription(parsing: pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials))
        #expect(second.media.map(\.mid) == ["0", "1"])
        #expect(throws: NegotiationError.modified("it differs from the one that was made last")) {
            try pair.ada.setLocalDescription(.offer, text: first)
        }
    }

    @Test("a local description that is stale or was never made is refused")
    func staleDescriptions() throws {
        let pair = try NegotiatorPair()
        #expect(throws: NegotiationError.self) { try pair.ada.setLocalDescription(.offer, text: nil) }
        pair.ada.addTrack(.audio)
        let stale = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        pair.grace.addTrack(.video)
        try pair.exchange(from: pair.grace)
        #expect(throws: NegotiationError.self) { try pair.ada.setLocalDescription(.offer, text: stale) }
        #expect(throws: NegotiationError.self) { try pair.ada.setLocalDescription(.offer, text: nil) }
        #expect(pair.ada.signalingState == .stable)
        try pair.exchange()
    }

    @Test("provisional answers, and each type in a state that does not fit")
    func states() throws {
        let pair = try NegotiatorPair()
        pair.ada.needsDataSection()
        #expect(throws: NegotiationError.self) { try pair.ada.createAnswer(credentials: NegotiatorPair.adaCredentials) }
        #expect(throws: NegotiationError.self) { try pair.ada.setLocalDescription(.answer, text: nil) }
        let offer = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        _ = try pair.ada.setLocalDescription(.offer, text: nil)
        #expect(pair.ada.signalingState == .haveLocalOffer)
        for type in [DescriptionType.answer, .pranswer] {
            #expect(
                pair.error(offer.replacing("actpass", with: "active"), type)
                    == .wrongState(.stable, "a remote \(type.rawValue) does not fit")
            )
        }
        _ = try pair.grace.setRemoteDescription(.offer, text: offer)
        #expect(pair.grace.signalingState == .haveRemoteOffer)
        let answer = try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        #expect(try pair.grace.setLocalDescription(.pranswer, text: answer).dtlsRole == .client)
        #expect(pair.grace.signalingState == .haveLocalPranswer)
        #expect(pair.error(offer)?.description.contains("have-local-pranswer") == true)
        #expect(try pair.ada.setRemoteDescription(.pranswer, text: answer).dtlsRole == .server)
        #expect(pair.ada.signalingState == .haveRemotePranswer)
        #expect(throws: NegotiationError.self) { try pair.ada.setLocalDescription(.rollback, text: nil) }
        let final = try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.answer, text: nil)
        _ = try pair.ada.setRemoteDescription(.answer, text: final)
        #expect(pair.ada.signalingState == .stable)
        #expect(pair.grace.signalingState == .stable)
        #expect(pair.ada.currentRemote?.type == .answer)
        #expect(pair.ada.pendingRemote == nil)
    }
}
