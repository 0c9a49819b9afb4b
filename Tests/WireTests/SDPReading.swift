import SDP
import SansIO
import Testing

@Suite("SDP reading")
struct SDPReading {
    static let offers = [
        "chromium156-avd", "chromium156-data", "chromium156-h264", "chromium156-recvonly", "firefox153-avd",
        "firefox153-data", "firefox153-recvonly", "aiortc116-avd", "pion4-avd",
    ]

    static func offer(_ name: String) throws(SDPError) -> SessionDescription {
        try SessionDescription(parsing: RTPVectors.text("SDP/\(name).sdp"))
    }

    @Test("offers of browsers and libraries carry what a connection needs", arguments: offers)
    func needs(name: String) throws {
        let session = try Self.offer(name)
        #expect(!session.media.isEmpty)
        #expect(session.bundleGroups == [session.media.compactMap(\.mid)])
        for media in session.media {
            #expect(media.setup == .actpass)
            #expect((media.iceUsernameFragment?.utf8.count ?? 0) >= 4)
            #expect((media.icePassword?.utf8.count ?? 0) >= 22)
            #expect(media.fingerprints.contains { $0.lowercased().hasPrefix("sha-256 ") })
            #expect(media.isRTCPMux == (media.kind != "application"))
            #expect(!media.isRejected)
        }
    }

    @Test("what is written reads as the same description", arguments: offers)
    func roundTrip(name: String) throws {
        let session = try Self.offer(name)
        let again = try SessionDescription(parsing: session.text)
        #expect(again == session)
        #expect(again.text == session.text)
    }

    @Test("Chromium's offer: codecs, retransmission, header extensions, sources, candidates")
    func chromium() throws {
        let session = try Self.offer("chromium156-avd")
        #expect(session.media.map(\.kind) == ["audio", "video", "application"])
        #expect(session.allowsMixedExtensions)
        let (audio, video, data) = (session.media[0], session.media[1], session.media[2])
        let opus = try #require(audio.codecs.first)
        #expect(opus.payloadType == 111)
        #expect(opus.name == "opus")
        #expect(opus.clockRate == 48_000)
        #expect(opus.channels == 2)
        #expect(opus.parameters["useinbandfec"] == "1")
        #expect(opus.feedback == ["transport-cc"])
        #expect(video.codecs.first?.name == "VP8")
        #expect(video.codecs.first { $0.payloadType == 97 }?.parameters["apt"] == "96")
        #expect(video.codecs.first?.feedback == ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"])
        #expect(video.extensionMaps.contains { $0.id == 4 && $0.uri == "urn:ietf:params:rtp-hdrext:sdes:mid" })
        #expect(video.sourceGroups.first { $0.semantics == "FID" }?.ssrcs.count == 2)
        #expect(video.candidates.allSatisfy { $0.hasPrefix("candidate:") })
        #expect(data.formats == ["webrtc-datachannel"])
        #expect(data.sctpPort == 5000)
        #expect(data.maxMessageSize == 262_144)
    }

    @Test("Firefox writes a=fmtp and a=rtcp-fb before a=rtpmap; they count all the same")
    func firefox() throws {
        let session = try Self.offer("firefox153-avd")
        let (audio, video) = (session.media[0], session.media[1])
        let opus = try #require(audio.codecs.first)
        #expect(opus.name == "opus")
        #expect(opus.fmtp == "maxplaybackrate=48000;stereo=1;useinbandfec=1")
        #expect(opus.feedback == ["transport-cc"])
        let vp8 = try #require(video.codecs.first)
        #expect(vp8.name == "VP8")
        #expect(vp8.parameters["max-fs"] == "12288")
        #expect(Set(vp8.feedback).isSuperset(of: ["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"]))
        #expect(video.codecs.first { $0.name == "rtx" && $0.parameters["apt"] == "120" }?.payloadType == 124)
        #expect(audio.extensionMaps.first { $0.id == 2 }?.direction == .recvonly)
        #expect(audio.fingerprints.count == 1, "the session's fingerprint holds for each m-section")
        #expect(audio.iceOptions == ["trickle"])
        #expect(audio.hasEndOfCandidates)
    }

    @Test("Pion doubles its feedback lines and ends some with a space")
    func pion() throws {
        let video = try Self.offer("pion4-avd").media[0]
        #expect(video.codecs.first?.feedback == ["goog-remb", "ccm fir", "nack", "nack pli", "transport-cc"])
        #expect(video.sources.map(\.cname) == ["streamOfVideo", "streamOfVideo"])
        #expect(video.msids.map(\.track) == ["trackOfVideo"])
    }

    @Test("aiortc has three fingerprints and no feedback for Opus")
    func aiortc() throws {
        let session = try Self.offer("aiortc116-avd")
        #expect(session.media[0].fingerprints.count == 3)
        #expect(session.media[0].codecs.first?.feedback == [])
        #expect(session.media[1].codecs.first?.feedback == ["nack", "nack pli", "goog-remb"])
    }

    @Test("other people's descriptions read or fail with a typed error, and what is read can be written")
    func others() {
        for name in ["jsep", "simulcast", "icelite", "invalid", "hacky", "sctp-dtls-26", "jssip", "normal", "ssrc"] {
            guard let session = try? Self.offer("transform-\(name)") else { continue }
            #expect((try? SessionDescription(parsing: session.text)) == session, "\(name)")
        }
        #expect((try? Self.offer("transform-icelite"))?.isICELite == true)
        #expect((try? Self.offer("transform-jsep"))?.media.count == 2)
    }

    @Test("a value of the session holds for each m-section without its own")
    func sessionLevel() throws {
        let session = try SessionDescription(
            parsing: """
                v=0
                a=ice-ufrag:abcd
                a=ice-pwd:0123456789012345678901
                a=setup:passive
                a=recvonly
                a=extmap:5 urn:x
                m=audio 9 UDP/TLS/RTP/SAVPF 0 8
                m=audio 9 UDP/TLS/RTP/SAVPF 0
                a=ice-ufrag:efgh
                a=sendonly
                """
        )
        #expect(session.media[0].iceUsernameFragment == "abcd")
        #expect(session.media[1].iceUsernameFragment == "efgh")
        #expect(session.media.map(\.setup) == [.passive, .passive])
        #expect(session.media.map(\.direction) == [.recvonly, .sendonly])
        #expect(session.media[0].extensionMaps.map(\.id) == [5])
        #expect(session.media[0].codecs.map(\.name) == ["PCMU", "PCMA"], "static payload types need no a=rtpmap")
    }

    @Test("a=rtcp-fb:* holds for every codec of its section alone")
    func wildcardFeedback() throws {
        let session = try SessionDescription(
            parsing: """
                v=0
                m=video 9 UDP/TLS/RTP/SAVPF 96 98
                a=rtcp-fb:* nack
                a=rtpmap:96 VP8/90000
                a=rtpmap:98 VP9/90000
                a=rtcp-fb:98 nack pli
                m=video 9 UDP/TLS/RTP/SAVPF 96
                a=rtpmap:96 VP8/90000
                """
        )
        #expect(session.media[0].codecs.map(\.feedback) == [["nack"], ["nack pli", "nack"]])
        #expect(session.media[1].codecs.map(\.feedback) == [[]])
    }

    @Test("codecs come in the m-line's order, and one without a=rtpmap is left out")
    func order() throws {
        let session = try SessionDescription(
            parsing: "v=0\nm=video 9 UDP/TLS/RTP/SAVPF 98 96 35 98\na=rtpmap:96 VP8/90000\na=rtpmap:98 VP9/90000\n"
        )
        #expect(session.media[0].codecs.map(\.payloadType) == [98, 96])
    }

    @Test("a bundle-only section with port 0 is not a rejected one")
    func bundleOnly() throws {
        let session = try SessionDescription(
            parsing: "v=0\nm=audio 0 UDP/TLS/RTP/SAVPF 0\nm=audio 0 UDP/TLS/RTP/SAVPF 0\na=bundle-only\n"
        )
        #expect(session.media.map(\.isRejected) == [true, false])
    }
}
