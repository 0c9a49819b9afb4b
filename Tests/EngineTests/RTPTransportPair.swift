import CongestionControl
import PeerEngine
import RTP
import SRTP
import SansIO

/// Two transports joined by a path with delay, loss, reordering and duplication, in virtual time.
final class RTPTransportPair {
    struct Path {
        var delay = Duration.milliseconds(20)
        var loss = 0.0
        var reordering = 0.0
        var duplication = 0.0
        /// Bits per second, or nil for no limit; what waits longer than 300 ms is lost.
        var rate: Double?
        var rtcpLoss = 0.0
    }

    final class Peer {
        let transmits = TransmitQueue()
        let transport: RTPTransport
        var events: [RTPEvent] = []
        var path: Path
        var linkFree = Instant(nanoseconds: 0)
        var datagramsSent = 0
        var largestDatagram = 0
        var departures: [(at: Instant, byteCount: Int)] = []

        init(random: RandomSource, path: Path) {
            transmits.selectedPath = TransmitPath(
                port: PortID(rawValue: 0),
                remote: TransportAddress(IPAddress(v4: 0x7F00_0001), port: 9)
            )
            transport = RTPTransport(transmits: transmits, random: random, cname: "peer")
            self.path = path
        }

        var frames: [(mid: String, frame: ReceivedFrame)] {
            events.compactMap { if case .frame(let mid, let frame) = $0 { (mid, frame) } else { nil } }
        }
        var keyFrameRequests: Int {
            events.count { if case .keyFrameRequested = $0 { true } else { false } }
        }
        var targets: [Int] {
            events.compactMap { if case .targetBitRate(_, let rate) = $0 { rate } else { nil } }
        }
    }

    private struct Flight {
        var arrival: Instant
        var order: Int
        var toB: Bool
        var datagram: [UInt8]
    }

    let random: RandomSource
    let a: Peer
    let b: Peer
    var now = Instant(nanoseconds: 1_000_000_000_000)
    /// Called for each event of `a` and `b` as it comes.
    var onEvent: ((Peer, RTPEvent) -> Void)?
    /// Called for each datagram that leaves.
    var onDatagram: ((Peer, [UInt8]) -> Void)?
    private var flights: [Flight] = []
    private var order = 0
    var deadlineViolations: [StaticString] = []

    init(seed: UInt64, path: Path = Path(), profile: SRTPProfileID = .aes128CmSha1_80, start: Bool = true) throws {
        random = RandomSource(seed: seed)
        a = Peer(random: random, path: path)
        b = Peer(random: random, path: path)
        if start { try self.start(profile: profile) }
    }

    func start(profile: SRTPProfileID = .aes128CmSha1_80) throws {
        func session(_ fill: UInt8, _ direction: SRTPSession.Direction) throws -> SRTPSession {
            try SRTPSession(
                profile: profile,
                key: Array(repeating: fill, count: profile.keyByteCount),
                salt: Array(repeating: fill &+ 1, count: profile.saltByteCount),
                direction: direction
            )
        }
        a.transport.start(outbound: try session(1, .outbound), inbound: try session(2, .inbound), at: now)
        b.transport.start(outbound: try session(2, .outbound), inbound: try session(1, .inbound), at: now)
    }

    /// Lets time pass, delivering datagrams and firing deadlines exactly.
    func run(for duration: Duration) {
        let end = now + duration
        drain()
        while true {
            let arrival = flights.map(\.arrival).min()
            let deadlines = [a, b].compactMap { $0.transport.nextDeadline?.instant }
            guard let next = (deadlines + (arrival.map { [$0] } ?? [])).min(), next <= end else { break }
            now = max(now, next)
            let due = flights.filter { $0.arrival <= now }.sorted { ($0.arrival, $0.order) < ($1.arrival, $1.order) }
            flights.removeAll { $0.arrival <= now }
            for flight in due {
                (flight.toB ? b : a).transport.receive(flight.datagram.span.bytes, at: now)
            }
            for peer in [a, b] {
                if let deadline = peer.transport.nextDeadline, deadline.instant <= now {
                    peer.transport.handleTimeout(at: now)
                    if let late = peer.transport.nextDeadline, late.instant <= now {
                        deadlineViolations.append(late.reason)
                        return
                    }
                }
            }
            drain()
        }
        now = end
    }

    func drain() {
        var isQuiet = false
        while !isQuiet {
            isQuiet = true
            for peer in [a, b] {
                while let event = peer.transport.nextEvent() {
                    peer.events.append(event)
                    onEvent?(peer, event)
                    isQuiet = false
                }
                peer.transmits.drain { _, bytes in transmit(Array(bytes), from: peer) }
            }
        }
    }

    /// Puts bytes on the way to `b` as if they came from `a`.
    func inject(_ datagram: [UInt8]) {
        b.transport.receive(datagram.span.bytes, at: now)
    }

    private func transmit(_ datagram: [UInt8], from peer: Peer) {
        peer.datagramsSent += 1
        onDatagram?(peer, datagram)
        peer.largestDatagram = max(peer.largestDatagram, datagram.count)
        peer.departures.append((now, datagram.count))
        let isRTCP = datagram.count > 1 && (192...223).contains(datagram[1])
        if chance(isRTCP ? peer.path.rtcpLoss : peer.path.loss) { return }
        var departure = now
        if let rate = peer.path.rate {
            departure = max(now, peer.linkFree)
            guard departure - now < .milliseconds(300) else { return }
            departure = departure + .nanoseconds(Int64(Double(datagram.count * 8) / rate * 1e9))
            peer.linkFree = departure
        }
        for _ in 0..<(chance(peer.path.duplication) ? 2 : 1) {
            var arrival = departure + peer.path.delay
            if chance(peer.path.reordering) {
                arrival = arrival + .milliseconds(Int64.random(in: 1...8, using: &generator))
            }
            order += 1
            flights.append(Flight(arrival: arrival, order: order, toB: peer === a, datagram: datagram))
        }
    }

    private func chance(_ probability: Double) -> Bool {
        probability > 0 && Double(random.next() >> 11) / Double(1 << 53) < probability
    }

    private var generator: RandomSource {
        get { random }
        set {}
    }
}

extension RTPTransportPair {
    static let extensions = RTPHeaderExtensionIDs(mid: 4, transportCC: 3, absSendTime: 2, audioLevel: 1)

    static func video(feedback: RTPFeedback = .all, rtx: Bool = true) -> RTPCodecParameters {
        RTPCodecParameters(payloadType: 96, codec: .vp8, rtxPayloadType: rtx ? 97 : nil, feedback: feedback)
    }

    static let opus = RTPCodecParameters(
        payloadType: 111,
        codec: .opus,
        feedback: RTPFeedback(transportCC: true),
        channels: 2
    )

    /// Video from `a` to `b` on MID 1.
    func addVideo(
        feedback: RTPFeedback = .all,
        rtx: Bool = true,
        extensions: RTPHeaderExtensionIDs = extensions,
        declaresSSRC: Bool = false
    ) {
        let codec = Self.video(feedback: feedback, rtx: rtx)
        a.transport.setSend(
            RTPSendParameters(
                mid: "1",
                ssrc: 0x1000,
                rtxSSRC: rtx ? 0x1001 : nil,
                codec: codec,
                extensions: extensions,
                cname: "peer"
            ),
            mid: "1",
            at: now
        )
        b.transport.setReceive(
            RTPReceiveParameters(
                mid: "1",
                codecs: [codec],
                extensions: extensions,
                ssrcs: declaresSSRC ? [0x1000] : [],
                rtxSSRCs: declaresSSRC && rtx ? [0x1000: 0x1001] : [:]
            ),
            mid: "1",
            at: now
        )
    }

    /// Audio from `a` to `b` on MID 0.
    func addAudio(codec: RTPCodecParameters = opus, extensions: RTPHeaderExtensionIDs = extensions) {
        a.transport.setSend(
            RTPSendParameters(mid: "0", ssrc: 0x2000, codec: codec, extensions: extensions, cname: "peer"),
            mid: "0",
            at: now
        )
        b.transport.setReceive(
            RTPReceiveParameters(mid: "0", codecs: [codec], extensions: extensions),
            mid: "0",
            at: now
        )
    }

    /// A frame whose bytes tell its number and length.
    static func frame(_ number: Int, byteCount: Int, isKeyFrame: Bool) -> EncodedFrame {
        var payload = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: max(byteCount, 8))
        payload[0] = isKeyFrame ? 0x10 : 0x11
        for index in 1...4 { payload[index] = UInt8(truncatingIfNeeded: number >> (8 * (4 - index))) }
        return EncodedFrame(
            payload: payload,
            rtpTimestamp: UInt32(truncatingIfNeeded: number * 3_000),
            isKeyFrame: isKeyFrame
        )
    }

    static func number(of frame: ReceivedFrame) -> Int {
        frame.payload.count < 5 ? -1 : frame.payload[1...4].reduce(0) { $0 << 8 | Int($1) }
    }

    /// An encoder at 30 frames a second which obeys key frame requests.
    /// - Returns: the frames sent.
    @discardableResult
    func sendVideo(seconds: Int, bitRate: Int = 600_000, from first: Int = 0, keyFrameByteCount: Int = 12_000)
        -> [EncodedFrame]
    {
        var wantsKeyFrame = first == 0
        let before = onEvent
        onEvent = { peer, event in
            if case .keyFrameRequested = event { wantsKeyFrame = true }
            before?(peer, event)
        }
        defer { onEvent = before }
        var sent: [EncodedFrame] = []
        for number in first..<(first + seconds * 30) {
            let byteCount = wantsKeyFrame ? keyFrameByteCount : bitRate / 8 / 30
            let frame = Self.frame(number, byteCount: byteCount, isKeyFrame: wantsKeyFrame)
            wantsKeyFrame = false
            sent.append(frame)
            a.transport.send(frame, mid: "1", at: now)
            run(for: .nanoseconds(33_333_333))
        }
        return sent
    }
}
