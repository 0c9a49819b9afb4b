// PeerEngine: one peer connection without its sockets, clock and threads.
//
// Holds the ICE agent, the DTLS transport, the RTP transport with its SRTP sessions, the data channels over SCTP,
// and the negotiator, and joins them: what one lets out another takes in. Datagrams leave through one
// `TransmitQueue`; events queue until `nextEvent()`. RFC 8825 and RFC 8829 say how the parts belong together.

package import DTLS
package import ICE
internal import RTP
package import SCTP
internal import SRTP
package import SansIO

/// One peer connection as a machine: datagrams and time in, datagrams, events and a deadline out.
///
/// Confined to one event loop. Inputs and commands may come in any number before a drain; a drain is
/// `flush(at:)`, then `nextEvent()` until nil, then `transmits`, then `nextDeadline`.
package final class PeerEngine {
    /// What an engine is made with.
    package struct Configuration {
        package var certificate: DTLSCertificate
        package var maxMessageSize: Int
        package var ice = ICEConfiguration()
        /// What is added to an `Instant` to give nanoseconds since 1900, for sender reports.
        package var clockOffsetNanoseconds: Int64 = 0
        /// Whether the peer is asked to leave out silence.
        package var prefersDTX = false

        package init(certificate: DTLSCertificate, maxMessageSize: Int = 262_144) {
            self.certificate = certificate
            self.maxMessageSize = maxMessageSize
        }
    }

    package let transmits = TransmitQueue()
    package let negotiator: Negotiator
    package let ice: ICEAgent
    package let relays: RelayTable
    package let dtls: DTLSTransport
    package let rtp: RTPTransport
    package let channels: DataChannelTable
    let random: RandomSource

    /// ICE and DTLS together (webrtc-pc §4.3.3).
    package internal(set) var connectionState = PeerConnectionState.new
    package internal(set) var dropped = DroppedDatagrams()
    var events = EventQueue<PeerEvent>()
    var dtlsRole: DTLSRole?
    var hasStartedDTLS = false
    var sctpPlan: SCTPPlan?
    private var hasPreparedSCTP = false
    var hasStartedSCTP = false
    var failure: PeerFailure?
    var isClosed = false
    /// Whether any m-section of media was agreed on.
    var hasMedia = false
    /// The handshake's keys until SRTP begins.
    private var srtpKeys: SRTPKeyingMaterial?
    private var knownRoundTrip: Duration?
    /// Datagrams with the application's data, and how many of them ICE knows of.
    private var trafficCount = 0
    private var knownTrafficCount = 0
    /// The path of the data channels' packets.
    private var channelPath: (path: TransmitPath, kind: SCTPPath)?
    /// The path of the last datagram that was let through.
    private var lastPath: TransmitPath?
    /// Credentials of an offer that restarts ICE, from its making until it is set.
    var restartCredentials: ICECredentials?
    /// The restart that an open offer has begun, until it is answered or rolled back.
    var openRestart: OpenRestart?

    /// A restart that a rollback takes back.
    struct OpenRestart {
        /// Whether the application had asked for it by `restartIce`.
        var wasWanted: Bool
    }

    /// The remote's end of SCTP as its description tells it.
    struct SCTPPlan: Equatable {
        var remotePort: UInt16
        var remoteMaxMessageSize: Int
    }

    /// DTLS's first retransmission comes after twice ICE's round-trip time, within these bounds.
    static let dtlsTimeoutRange: ClosedRange<Duration> = .milliseconds(50)...(.seconds(1))

    package init(configuration: Configuration, random: RandomSource) throws(DTLSError) {
        self.random = random
        let cname = random.alphanumerics(16)
        ice = ICEAgent(configuration: configuration.ice, role: .controlling, transmits: transmits, random: random)
        relays = RelayTable(agent: ice, random: random)
        dtls = try DTLSTransport(certificate: configuration.certificate, transmits: transmits)
        rtp = RTPTransport(transmits: transmits, random: random, cname: cname)
        // Always offered and answered with a=rtcp-rsize.
        rtp.allowsReducedSizeRTCP = true
        rtp.clockOffsetNanoseconds = configuration.clockOffsetNanoseconds
        channels = DataChannelTable(configuration: SCTPConfiguration(maxMessageSize: configuration.maxMessageSize))
        var negotiation = NegotiatorConfiguration.standard(
            certificate: configuration.certificate,
            cname: cname,
            maxMessageSize: configuration.maxMessageSize
        )
        negotiation.isICELite = configuration.ice.isLite
        if configuration.prefersDTX { negotiation.preferDTX() }
        negotiator = Negotiator(configuration: negotiation, random: random)
    }

    // MARK: Inputs

    /// Takes one datagram from the network.
    package func receive(_ datagram: RawSpan, from remote: TransportAddress, on port: PortID, at now: Instant) {
        guard !isClosed else { return }
        switch DatagramKind(datagram) {
        case .rtp:
            guard isFromPeer(remote, on: port) else { return }
            trafficCount &+= 1
            rtp.receive(datagram, at: now)
        case .dtls:
            guard isFromPeer(remote, on: port) else { return }
            trafficCount &+= 1
            dtls.receive(datagram, at: now) { packet in receiveSCTP(packet, at: now) }
        case .stun:
            guard DatagramKind.isBinding(datagram) || !receiveOfServer(datagram, from: remote, on: port, at: now) else {
                return
            }
            ice.receive(datagram, from: remote, on: port, at: now)
        case .channelData:
            if !receiveOfServer(datagram, from: remote, on: port, at: now) { dropped.channelData += 1 }
        case .unknown: dropped.unknown += 1
        }
    }

    /// Takes what a TURN server sends, if it is one; what peers send through it comes in `receive` again.
    ///
    /// It wraps everything in STUN or ChannelData: nothing else need be looked at.
    private func receiveOfServer(
        _ datagram: RawSpan,
        from remote: TransportAddress,
        on port: PortID,
        at now: Instant
    ) -> Bool {
        guard !relays.isEmpty else { return false }
        return relays.receive(datagram, from: remote, on: port, at: now) { datagram, peer, port in
            receive(datagram, from: peer, on: port, at: now)
        }
    }

    /// Takes bytes of a stream to a TURN server.
    package func receive(stream bytes: RawSpan, on port: PortID, at now: Instant) {
        guard !isClosed else { return }
        relays.receive(stream: bytes, on: port, at: now) { datagram, peer, port in
            receive(datagram, from: peer, on: port, at: now)
        }
    }

    /// Acts on every timer that is due.
    package func handleTimeout(at now: Instant) {
        guard !isClosed else { return }
        ice.handleTimeout(at: now)
        relays.handleTimeout(at: now)
        if hasStartedDTLS { dtls.handleTimeout(at: now) }
        if hasStartedSCTP { channels.handleTimeout(at: now) }
        rtp.handleTimeout(at: now)
    }

    /// Closes everything: close_notify, then silence.
    ///
    /// What was not sent is lost.
    package func close(at now: Instant) {
        guard !isClosed else { return }
        flush(at: now)
        if hasStartedSCTP { channels.shutdown(at: now) }
        sendSCTPPackets()
        rtp.close(at: now)
        dtls.close()
        ice.close()
        isClosed = true
        setConnectionState(.closed)
    }

    // MARK: Outputs

    /// Lets the parts act on each other's events and puts what they send into `transmits`.
    ///
    /// First step of a drain.
    package func flush(at now: Instant) {
        guard !isClosed else { return }
        pumpICE(at: now)
        pumpDTLS(at: now)
        startSRTPIfPossible(at: now)
        startSCTPIfPossible(at: now)
        // Sending takes queued messages in and so makes events.
        sendSCTPPackets()
        pumpChannels()
        pumpRTP()
        if trafficCount != knownTrafficCount {
            knownTrafficCount = trafficCount
            ice.noteTraffic(at: now)
        }
        updateConnectionState()
    }

    /// Does what can wait until the datagrams of a drain have left, and is then needed soon.
    ///
    /// Last step of a drain: while the flights of DTLS travel, SCTP's association and INIT are made. The peer's first
    /// flight tells how long packets may become.
    package func prepareAhead(at now: Instant) {
        dtls.rest()
        guard hasStartedDTLS, !hasPreparedSCTP, let sctpPlan, !isClosed, dtls.statistics.datagramsReceived > 0 else {
            return
        }
        hasPreparedSCTP = true
        tellPath()
        channels.prepare(remotePort: sctpPlan.remotePort, at: now)
    }

    /// Calls `body` for each train of datagrams that wait, those through TURN servers in their wrapping; see
    /// `TransmitQueue.drainTrains`.
    package func drainTrains(
        at now: Instant,
        _ body: (_ path: TransmitPath, _ bytes: UnsafeRawBufferPointer, _ segmentByteCount: Int) -> Bool
    ) {
        unsafe transmits.drainTrains { [relays] path, bytes, segmentByteCount in
            guard RelayTable.isRelayed(path.port) else { return unsafe body(path, bytes, segmentByteCount) }
            unsafe relays.send(bytes, segmentByteCount: segmentByteCount, along: path, at: now)
            return true
        }
        // The farewell was wrapped: the servers may forget this side.
        if isClosed { relays.close(at: now) }
        if !relays.wire.isEmpty { unsafe relays.wire.drainTrains(body) }
    }

    package var hasEvents: Bool { !events.isEmpty }

    /// The next event, oldest first.
    package func nextEvent() -> PeerEvent? { events.pop() }

    /// When `handleTimeout(at:)` must be called next; nil for never.
    package var nextDeadline: Deadline? {
        guard !isClosed else { return nil }
        var deadline = Deadline.earlier(ice.nextDeadline, rtp.nextDeadline)
        if !relays.isEmpty { deadline = .earlier(deadline, relays.nextDeadline) }
        if hasStartedDTLS { deadline = .earlier(deadline, dtls.nextDeadline) }
        if hasStartedSCTP { deadline = .earlier(deadline, channels.nextDeadline) }
        return deadline
    }

    // MARK: Private

    /// Whether the peer has shown by an authentic check that this path is its own; a datagram of others is counted.
    ///
    /// So nobody who merely guesses the port can feed the handshake or the replay windows. An early ClientHello
    /// passes: a peer sends none before its check on that path was answered.
    private func isFromPeer(_ remote: TransportAddress, on port: PortID) -> Bool {
        let path = TransmitPath(port: port, remote: remote)
        if path == lastPath { return true }
        guard ice.isAuthentic(path) else {
            dropped.unknownPath += 1
            return false
        }
        lastPath = path
        return true
    }

    private func pumpICE(at now: Instant) {
        // Before the end of candidates that a failure may bring: who waits for that end knows all then.
        while let failure = relays.nextFailure() { events.push(.relayFailed(failure)) }
        while let event = ice.nextEvent() {
            if case .relayPaired(let port, let ip) = event {
                relays.permit(ip, on: port, at: now)
                continue
            }
            if case .pathSilent = event {
                relays.verify(at: now)
                continue
            }
            if case .selectedPathChanged(let path, let local, _) = event, path != channelPath?.path {
                let kind = SCTPPath(host: local.kind == .host ? local.address.ip : nil, remote: path.remote.ip)
                channelPath = (path, kind)
                tellPath()
                relays.didSelect(path, at: now)
            }
            events.push(.ice(event))
        }
        if let roundTrip = ice.roundTripTime, roundTrip != knownRoundTrip {
            knownRoundTrip = roundTrip
            rtp.setPathRoundTripTime(roundTrip, at: now)
        }
        startDTLSIfPossible(at: now)
    }

    /// DTLS begins as soon as a pair works and the description has told the roles (RFC 8842 §5).
    private func startDTLSIfPossible(at now: Instant) {
        guard !hasStartedDTLS, let dtlsRole, ice.isWritable else { return }
        hasStartedDTLS = true
        let timeout = (ice.roundTripTime ?? .milliseconds(250)) * 2
        dtls.start(
            role: dtlsRole,
            initialTimeout: min(max(timeout, Self.dtlsTimeoutRange.lowerBound), Self.dtlsTimeoutRange.upperBound),
            at: now
        )
    }

    /// Tells the data channels along what their packets go.
    private func tellPath() {
        guard let kind = channelPath?.kind else { return }
        channels.setPath(kind, recordSizeLimit: dtls.statistics.remoteRecordSizeLimit)
    }

    private func pumpDTLS(at now: Instant) {
        while let event = dtls.nextEvent() {
            switch event {
            case .connected(let connected):
                srtpKeys = connected.keyingMaterial
                dtls.deliverHeld { packet in receiveSCTP(packet, at: now) }
            case .failed(let error):
                // Without DTLS there is no SCTP: the channels end. webrtc-pc §6.1.1
                channels.shutdown(at: now)
                fail(.dtls(error))
            case .closed:
                channels.shutdown(at: now)
                events.push(.remoteClosed)
            }
        }
    }

    /// SRTP begins with the first m-section of media: its sessions cost time and memory that data does not need.
    private func startSRTPIfPossible(at now: Instant) {
        guard hasMedia, let keys = srtpKeys, let dtlsRole else { return }
        srtpKeys = nil
        let outbound = keys.outbound(role: dtlsRole)
        let inbound = keys.inbound(role: dtlsRole)
        do {
            rtp.start(
                outbound: try SRTPSession(
                    profile: keys.profile,
                    key: outbound.key,
                    salt: outbound.salt,
                    direction: .outbound
                ),
                inbound: try SRTPSession(
                    profile: keys.profile,
                    key: inbound.key,
                    salt: inbound.salt,
                    direction: .inbound
                ),
                at: now
            )
        } catch {
            fail(.srtp("\(error)"))
        }
    }

    func startSCTPIfPossible(at now: Instant) {
        guard !hasStartedSCTP, let plan = sctpPlan, dtls.state == .connected, let dtlsRole else { return }
        hasStartedSCTP = true
        if !hasPreparedSCTP { tellPath() }
        channels.start(
            dtlsRole: dtlsRole == .client,
            remotePort: plan.remotePort,
            remoteMaxMessageSize: plan.remoteMaxMessageSize,
            at: now
        )
    }

    /// The peer's first packet may come in one burst with what completes the handshake.
    private func receiveSCTP(_ packet: RawSpan, at now: Instant) {
        startSCTPIfPossible(at: now)
        channels.receive(packet, at: now)
    }

    private func pumpChannels() {
        while let event = channels.nextEvent() { events.push(.channel(event)) }
    }

    private func pumpRTP() {
        while let event = rtp.nextEvent() { events.push(.rtp(event)) }
    }

    private func sendSCTPPackets() {
        guard hasStartedSCTP else { return }
        unsafe channels.drainPackets { [dtls, transmits] packet, fragmentation in
            transmits.fragmentation = fragmentation
            trafficCount &+= 1
            do { try unsafe dtls.send(packet) } catch { dropped.unsentSCTP += 1 }
        }
        transmits.fragmentation = .asUsual
    }

    private func fail(_ reason: PeerFailure) {
        guard failure == nil else { return }
        failure = reason
        events.push(.failed(reason))
    }

    private func updateConnectionState() {
        setConnectionState(currentConnectionState)
    }

    private var currentConnectionState: PeerConnectionState {
        if failure != nil || ice.state == .failed || dtls.state == .failed { return .failed }
        if ice.state == .disconnected { return .disconnected }
        let isICEUp = ice.state == .connected || ice.state == .completed
        if isICEUp && (dtls.state == .connected || dtls.state == .closed) { return .connected }
        if ice.state == .new && dtls.state == .new { return .new }
        return .connecting
    }

    private func setConnectionState(_ state: PeerConnectionState) {
        guard state != connectionState else { return }
        connectionState = state
        events.push(.connectionStateChanged(state))
    }
}
