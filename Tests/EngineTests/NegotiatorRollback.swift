import PeerEngine
import RTP
import SDP
import Testing

@Suite("Negotiation: rollback and glare")
struct NegotiatorRollback {
    @Test("a local offer that is taken back leaves nothing of itself")
    func local() throws {
        let pair = try NegotiatorPair()
        let audio = pair.ada.addTrack(.audio)
        let offer = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        _ = try pair.ada.setLocalDescription(.offer, text: nil)
        #expect(pair.ada.transceiver(audio)?.mid == "0")
        #expect(!pair.ada.isNegotiationNeeded)
        _ = try pair.ada.setLocalDescription(.rollback, text: nil)
        #expect(pair.ada.signalingState == .stable)
        #expect(pair.ada.transceiver(audio)?.mid == nil)
        #expect(pair.ada.pendingLocal == nil)
        #expect(pair.ada.isNegotiationNeeded)
        #expect(throws: NegotiationError.self) { try pair.ada.setLocalDescription(.offer, text: offer) }
        #expect(throws: NegotiationError.self) { try pair.ada.setLocalDescription(.rollback, text: nil) }
        let made = try pair.exchange()
        #expect(made.offer.media.count == 1)
    }

    @Test("a remote offer that is taken back removes the transceivers that it made and ends their tracks")
    func remote() throws {
        let pair = try NegotiatorPair()
        pair.ada.addTrack(.audio)
        pair.ada.addTrack(.video)
        let offer = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        let offered = try pair.grace.setRemoteDescription(.offer, text: offer)
        let undone = try pair.grace.setRemoteDescription(.rollback, text: "")
        #expect(undone.removed == offered.added)
        #expect(pair.grace.transceivers.isEmpty)
        #expect(pair.grace.signalingState == .stable)
        #expect(!pair.grace.isNegotiationNeeded)
        #expect(throws: NegotiationError.self) {
            try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        }
        // The credentials of the offer that was taken back are no former ones.
        let again = try pair.grace.setRemoteDescription(.offer, text: offer.replacing("adaU", with: "adaV"))
        #expect(again.remoteTransport?.isRestart == false)
    }

    @Test("a transceiver of a remote offer that got a track meanwhile survives the rollback without its m-section")
    func trackGivenMeanwhile() throws {
        let pair = try NegotiatorPair()
        pair.ada.addTrack(.audio)
        let offer = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        let id = try #require(try pair.grace.setRemoteDescription(.offer, text: offer).added.first)
        pair.grace.setTrack("mine", streamIDs: ["s"], of: id)
        pair.grace.setDirection(.sendrecv, of: id)
        let undone = try pair.grace.setLocalDescription(.rollback, text: nil)
        #expect(undone.removed == [])
        #expect(undone.endedTracks == [id])
        #expect(pair.grace.transceiver(id)?.mid == nil)
        #expect(pair.grace.isNegotiationNeeded)
        // The same offer again takes it, as if addTrack had made it.
        #expect(try pair.grace.setRemoteDescription(.offer, text: offer).added == [])
        #expect(pair.grace.transceiver(id)?.mid == "0")
    }

    @Test("a rollback in the middle of a session returns to it")
    func withinSession() throws {
        let pair = try NegotiatorPair()
        let audio = pair.ada.addTrack(.audio)
        try pair.exchange()
        let before = pair.ada.currentLocal?.session
        pair.ada.stop(audio)
        pair.ada.addTrack(.video)
        _ = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        _ = try pair.ada.setLocalDescription(.offer, text: nil)
        _ = try pair.ada.setLocalDescription(.rollback, text: nil)
        #expect(pair.ada.currentLocal?.session == before)
        #expect(pair.ada.transceiver(audio)?.mid == "0")
        #expect(pair.ada.transceiver(audio)?.currentDirection == .sendonly)
        let made = try pair.exchange()
        #expect(made.offer.media.map(\.isRejected) == [true, false])
    }

    /// webrtc-pc §10.7: the polite side takes its own offer back, the impolite one ignores the other's.
    @Test("glare: both offer at once; the polite side gives way, and both get their tracks")
    func glare() throws {
        let pair = try NegotiatorPair()
        pair.ada.addTrack(.audio, "ada's")
        pair.grace.addTrack(.video, "grace's")
        pair.grace.addTrack(.audio, "grace's too")
        let impolite = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        _ = try pair.ada.setLocalDescription(.offer, text: nil)
        _ = pair.grace.createOffer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.offer, text: nil)
        let offered = try pair.grace.setRemoteDescription(.offer, text: impolite)
        #expect(pair.grace.signalingState == .haveRemoteOffer)
        #expect(pair.grace.pendingLocal == nil)
        #expect(offered.added == [], "the audio track that waited takes the m-section")
        let answer = try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.answer, text: nil)
        _ = try pair.ada.setRemoteDescription(.answer, text: answer)
        #expect(pair.grace.isNegotiationNeeded, "the video is still to come")
        #expect(!pair.ada.isNegotiationNeeded)
        let made = try pair.exchange(from: pair.grace)
        #expect(made.offer.media.map(\.kind) == ["audio", "video"])
        #expect(!pair.grace.isNegotiationNeeded)
        for negotiator in [pair.ada, pair.grace] { #expect(negotiator.signalingState == .stable) }
        #expect(Set(pair.grace.transceivers.compactMap(\.mid)).count == 2)
    }

    @Test("glare with data on both sides and in a session that is up")
    func laterGlare() throws {
        let pair = try NegotiatorPair()
        pair.ada.needsDataSection()
        pair.grace.needsDataSection()
        try pair.exchange()
        pair.ada.addTrack(.audio)
        pair.grace.addTrack(.video)
        let impolite = pair.ada.createOffer(credentials: NegotiatorPair.adaCredentials)
        _ = try pair.ada.setLocalDescription(.offer, text: nil)
        _ = pair.grace.createOffer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.offer, text: nil)
        _ = try pair.grace.setRemoteDescription(.offer, text: impolite)
        let answer = try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.answer, text: nil)
        _ = try pair.ada.setRemoteDescription(.answer, text: answer)
        let made = try pair.exchange(from: pair.grace)
        #expect(made.offer.media.map(\.kind) == ["application", "audio", "video"])
        #expect(made.answer.media.allSatisfy { !$0.isRejected })
    }

    @Test("a second offer replaces the pending one, with fewer m-sections too")
    func replacedOffer() throws {
        let pair = try NegotiatorPair()
        _ = try pair.grace.setRemoteDescription(
            .offer,
            text: HandmadeOffer.session(bundle: "0 1", HandmadeOffer.audio(), HandmadeOffer.video())
        )
        _ = try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setRemoteDescription(.offer, text: HandmadeOffer.session(bundle: "1", HandmadeOffer.video()))
        #expect(throws: NegotiationError.self, "the answer was for the other offer") {
            try pair.grace.setLocalDescription(.answer, text: nil)
        }
        let answer = try pair.grace.createAnswer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.answer, text: nil)
        #expect(try SessionDescription(parsing: answer).media.map(\.kind) == ["video"])
        #expect(pair.grace.transceivers.map(\.kind) == [.video])
    }

    @Test("a description that is refused changes nothing")
    func refusedDescriptions() throws {
        let pair = try NegotiatorPair()
        pair.ada.addTrack(.audio)
        let made = try pair.exchange()
        let offer = made.offer.text
        pair.grace.addTrack(.video)
        _ = pair.grace.createOffer(credentials: NegotiatorPair.graceCredentials)
        _ = try pair.grace.setLocalDescription(.offer, text: nil)
        for text in [
            "", offer.replacing("a=ice-ufrag:adaU", with: "a=x"), offer.replacing("m=audio", with: "m=video"),
            offer.replacing("a=mid:0", with: "a=mid:9").replacing("BUNDLE 0", with: "BUNDLE 9"), "v=0\r\n",
        ] {
            #expect(pair.error(text) != nil)
            #expect(pair.grace.signalingState == .haveLocalOffer)
            #expect(pair.grace.pendingLocal != nil)
        }
        let kept = try pair.grace.setRemoteDescription(.offer, text: offer)
        #expect(kept.remoteTransport?.isRestart == false)
    }
}
