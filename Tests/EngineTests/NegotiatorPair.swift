import DTLS
import ICE
import PeerEngine
import RTP
import SDP
import SansIO

/// Two negotiators and the text that goes between them.
final class NegotiatorPair {
    let ada: Negotiator
    let grace: Negotiator
    static let adaCredentials = ICECredentials(usernameFragment: "adaU", password: "adaPasswordOf22Letters")
    static let graceCredentials = ICECredentials(usernameFragment: "graceU", password: "gracePasswordOf24Letters")

    init() throws {
        let certificate = try DTLSCertificate.generate(at: 1_700_000_000)
        let random = RandomSource(seed: 1)
        func make(_ cname: String) -> Negotiator {
            Negotiator(
                configuration: .standard(certificate: certificate, cname: cname, maxMessageSize: 262_144),
                random: random
            )
        }
        ada = make("ada")
        grace = make("grace")
    }

    /// What an exchange changed, and its texts.
    struct Exchange {
        var offer: SessionDescription
        var answer: SessionDescription
        /// At the answerer: by the offer, and by its own answer.
        var offered: NegotiationOutcome
        var answered: NegotiationOutcome
        /// At the offerer, by the answer.
        var accepted: NegotiationOutcome
    }

    func credentials(of negotiator: Negotiator) -> ICECredentials {
        negotiator === ada ? Self.adaCredentials : Self.graceCredentials
    }

    func other(_ negotiator: Negotiator) -> Negotiator { negotiator === ada ? grace : ada }

    /// An offer of `offerer` to the other and its answer.
    ///
    /// `change` may rewrite the offer on its way.
    @discardableResult
    func exchange(
        from offerer: Negotiator? = nil,
        beforeAnswer: (Negotiator) -> Void = { _ in },
        changeOffer: (String) -> String = { $0 },
        changeAnswer: (String) -> String = { $0 }
    ) throws -> Exchange {
        let offerer = offerer ?? ada
        let answerer = other(offerer)
        let offer = changeOffer(offerer.createOffer(credentials: credentials(of: offerer)))
        _ = try offerer.setLocalDescription(.offer, text: nil)
        let offered = try answerer.setRemoteDescription(.offer, text: offer)
        beforeAnswer(answerer)
        let answer = changeAnswer(try answerer.createAnswer(credentials: credentials(of: answerer)))
        let answered = try answerer.setLocalDescription(.answer, text: nil)
        let accepted = try offerer.setRemoteDescription(.answer, text: answer)
        return Exchange(
            offer: try SessionDescription(parsing: offer),
            answer: try SessionDescription(parsing: answer),
            offered: offered,
            answered: answered,
            accepted: accepted
        )
    }

    /// Grace's answer to that offer.
    func answer(to offer: String) throws -> SessionDescription {
        _ = try grace.setRemoteDescription(.offer, text: offer)
        let text = try grace.createAnswer(credentials: Self.graceCredentials)
        _ = try grace.setLocalDescription(.answer, text: nil)
        return try SessionDescription(parsing: text)
    }

    /// Why Grace refuses a description; nil if she takes it.
    func error(_ text: String, _ type: DescriptionType = .offer) -> NegotiationError? {
        do throws(NegotiationError) {
            _ = try grace.setRemoteDescription(type, text: text)
            return nil
        } catch { return error }
    }
}

extension Negotiator {
    @discardableResult
    func addTrack(_ kind: RTPMediaKind, _ id: String = "track", stream: String = "stream") -> TransceiverID {
        addTransceiver(kind: kind, direction: .sendrecv, trackID: id, streamIDs: [stream], wasAddedByTrack: true)
    }
}

/// Offers written by hand, one m-section after another.
enum HandmadeOffer {
    static let fingerprint = "sha-256 " + Array(repeating: "AB", count: 32).joined(separator: ":")
    static let transport = """
        a=ice-ufrag:abcd
        a=ice-pwd:0123456789012345678901
        a=fingerprint:\(fingerprint)
        a=setup:actpass

        """

    static func session(bundle: String?, _ sections: String...) -> String {
        "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\n" + (bundle.map { "a=group:BUNDLE \($0)\n" } ?? "")
            + sections.joined()
    }

    static func audio(_ mid: String = "0", transport: String = transport, _ more: String = "") -> String {
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\na=mid:\(mid)\n\(transport)a=rtcp-mux\na=rtpmap:111 opus/48000/2\n\(more)"
    }

    static func video(
        _ mid: String = "1",
        transport: String = transport,
        codec: String = "VP8/90000",
        _ more: String = ""
    ) -> String {
        "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:\(mid)\n\(transport)a=rtcp-mux\na=rtpmap:96 \(codec)\n\(more)"
    }

    static func data(_ mid: String = "2", transport: String = transport, _ more: String = "a=sctp-port:5000\n")
        -> String
    {
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:\(mid)\n\(transport)\(more)"
    }
}
