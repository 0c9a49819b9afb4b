import DTLS
import ICE
import PeerEngine
import RTP
import SCTP
import SDP
import SansIO

/// Two engines with one socket each, joined without delay, in virtual time.
///
/// They agree on audio: usrsctp has one clock for the process, which real connections beside them need.
final class PeerEnginePair {
    final class Peer {
        let engine: PeerEngine
        let address: TransportAddress
        let port = PortID(rawValue: 0)
        var closedChannels = 0
        /// Candidates that were not yet given to the other.
        var candidates: [String] = []

        init(address: TransportAddress, random: RandomSource) throws {
            let certificate = try DTLSCertificate.generate(at: 1_700_000_000)
            engine = try PeerEngine(configuration: .init(certificate: certificate), random: random)
            self.address = address
        }
    }

    let offerer: Peer
    let answerer: Peer
    var now = Instant(nanoseconds: 1_000_000_000_000)
    /// Sees each datagram before its delivery; false drops it.
    var passes: (_ toAnswerer: Bool, _ datagram: [UInt8]) -> Bool = { _, _ in true }

    init(seed: UInt64 = 1) throws {
        let random = RandomSource(seed: seed)
        offerer = try Peer(address: TransportAddress(IPAddress(v4: 0xC000_0201), port: 5000), random: random)
        answerer = try Peer(address: TransportAddress(IPAddress(v4: 0xC000_0202), port: 6000), random: random)
    }

    /// The offer and the answer; candidates are exchanged by `signalCandidates`.
    func negotiate() throws {
        try offer()
        try answer()
    }

    /// The offer reaches the answerer and is answered; the offerer does not know of it.
    func offer() throws {
        _ = offerer.engine.negotiator.addTransceiver(
            kind: .audio,
            direction: .recvonly,
            trackID: "",
            streamIDs: [],
            wasAddedByTrack: false
        )
        let offer = offerer.engine.createOffer(iceRestart: false)
        _ = try offerer.engine.setLocalDescription(.offer, text: offer, at: now)
        gather(offerer)
        _ = try answerer.engine.setRemoteDescription(.offer, text: offer, at: now)
        answerText = try answerer.engine.createAnswer()
        _ = try answerer.engine.setLocalDescription(.answer, text: answerText, at: now)
        gather(answerer)
    }

    /// The answer reaches the offerer.
    func answer() throws {
        _ = try offerer.engine.setRemoteDescription(.answer, text: answerText, at: now)
    }

    /// A further offer and answer, with the candidates of new generations.
    func renegotiate(from first: Peer, to second: Peer, iceRestart: Bool) throws {
        let offer = first.engine.createOffer(iceRestart: iceRestart)
        _ = try first.engine.setLocalDescription(.offer, text: offer, at: now)
        gather(first)
        _ = try second.engine.setRemoteDescription(.offer, text: offer, at: now)
        let answer = try second.engine.createAnswer()
        _ = try second.engine.setLocalDescription(.answer, text: answer, at: now)
        gather(second)
        _ = try first.engine.setRemoteDescription(.answer, text: answer, at: now)
        exchange()
        signalCandidates()
    }

    func gather(_ peer: Peer) {
        peer.engine.ice.addLocalHost(peer.address, port: peer.port, preference: 65_535, at: now)
        peer.engine.ice.finishAddingLocalAddresses(at: now)
    }

    private var answerText = ""

    /// Delivers all that is under way and moves time to the next deadline until the condition holds.
    ///
    /// - Returns: whether it came to hold within the duration.
    @discardableResult
    func run(_ duration: Duration = .seconds(10), until condition: () -> Bool = { false }) -> Bool {
        let end = now + duration
        while true {
            while exchange() { if condition() { return true } }
            if condition() { return true }
            let deadlines = [offerer, answerer].compactMap { $0.engine.nextDeadline?.instant }
            guard let next = deadlines.min(), next <= end else {
                now = end
                return false
            }
            now = max(now, next)
            for peer in [offerer, answerer] { peer.engine.handleTimeout(at: now) }
        }
    }

    /// Gives each peer the candidates that the other has found.
    func signalCandidates() {
        for (from, to) in [(offerer, answerer), (answerer, offerer)] {
            for candidate in from.candidates { _ = to.engine.addRemoteCandidate(candidate, at: now) }
            from.candidates = []
        }
    }

    /// - Returns: whether anything was sent.
    @discardableResult
    func exchange() -> Bool {
        var isAnythingSent = false
        for (from, to) in [(offerer, answerer), (answerer, offerer)] {
            from.engine.flush(at: now)
            while let event = from.engine.nextEvent() { note(event, of: from) }
            var datagrams: [[UInt8]] = []
            from.engine.transmits.drain { path, bytes in
                if path.remote == to.address { datagrams.append(Array(bytes)) }
            }
            for datagram in datagrams where passes(to === answerer, datagram) {
                to.engine.receive(datagram.span.bytes, from: from.address, on: to.port, at: now)
            }
            isAnythingSent = isAnythingSent || !datagrams.isEmpty
        }
        return isAnythingSent
    }

    private func note(_ event: PeerEvent, of peer: Peer) {
        switch event {
        case .ice(.localCandidate(let candidate)): peer.candidates.append(candidate.attributeValue)
        case .channel(.closed): peer.closedChannels += 1
        default: break
        }
    }

    var isConnected: Bool {
        offerer.engine.connectionState == .connected && answerer.engine.connectionState == .connected
    }
}
