import Glibc
import PAKE
import PeerConnection
import Signaling

/// Why two who have a code do not meet.
enum MeetingError: Error, CustomStringConvertible {
    /// Somebody tried the code and did not know it: it is void.
    case codeWasGuessed
    /// This side's code is not the other's.
    case wrongCode
    /// What this side kept of an earlier pairing is not what the other side did.
    case memoryDiffers
    /// The other side says no.
    case refused(String)
    case signaling(SignalingError)
    case connection(String)
    /// The other side has said that it will not come again.
    case ended
    /// The two have not paired in time.
    case nobodyCame
    /// The other side was lost, and has not come again in time.
    case stayedAway
    /// The two have paired, but no connection has come up in time.
    case noConnection
    /// The room of the code has had no place for this side in time.
    case roomFull
    case over

    static let noPath =
        "the two know each other, but no connection comes up between them: if a firewall holds UDP back, a TURN server leads around it (--ice-server turn:…)"

    var description: String {
        switch self {
        case .codeWasGuessed: "somebody tried a wrong code: this code is void"
        case .wrongCode:
            "the code is not the other machine's, or somebody between the two has altered what was said; ask for a new code"
        case .memoryDiffers:
            "what this machine keeps of the transfer does not fit the other machine's: start anew over there, for a new code"
        case .refused(let words): "the other side refuses: \(words)"
        case .signaling(let error): error.message
        case .connection(let words): words
        case .ended: "the other side has ended"
        case .nobodyCame: "the other side has not come in time; --wait says how long to wait"
        case .stayedAway: "the other side has not come again in time; --wait says how long to wait"
        case .noConnection: "\(Self.noPath); --wait says how long to wait"
        case .roomFull:
            "the room of this code is full: others, who may be strangers, hold all of its places and leave none for this machine; try again with a longer --wait, or with a new code, which has another room"
        case .over: "the meeting is over"
        }
    }
}

/// Brings two who have a code together: in a room of a signalling server they prove to each other that they
/// know the code, and then connect; whenever the connection is lost they connect again.
///
/// The second makes every offer. Each connection has one data channel; both go to ``connections``.
actor TransferMeeting {
    /// The one who printed the code, and the one who was told it; which of them sends files is not said here.
    enum Side: Sendable { case first, second }

    struct Options: Sendable {
        var side: Side
        /// The secret part of the code; nil if only a resumption will do.
        var code: String?
        /// What an earlier pairing left, if this goes on with that.
        var resumption: [UInt8]?
        /// Of each connection; what the signalling server recommends comes on top.
        var configuration = RTCConfiguration()
        /// How long to wait until the two have paired for the first time; nil: for ever.
        var patience: Duration?
        /// How long to wait for a connection once the two have paired, and in place of a lost one; nil: for ever.
        var patienceAgain: Duration?
        /// How long an exchange of keys may take before it counts as a guess.
        var exchangePatience = Duration.seconds(10)
        /// Whether the server is neither side's own.
        var serverIsAnothers = false
        /// Called when the room has been joined, before anything else comes of it; once.
        ///
        /// What it throws ends the meeting.
        var joined: @Sendable () throws -> Void = {}
        /// Called when the other side has proved itself, with what lets the two pair again.
        var paired: @Sendable ([UInt8]) -> Void
        /// Words for a person who waits.
        var note: @Sendable (String) -> Void
        /// Told once what this side waits for when the room has no place for it.
        var waits: @Sendable (String) -> Void = { _ in }
        /// Takes the channels that the other side opens besides the transfer's; nil closes them.
        var channel: (@Sendable (RTCDataChannel) -> Void)?
    }

    static let channelLabel = "transfer"
    static let channelProtocol = "rtc-peer-transfer-1"

    /// A connection and its open data channel.
    struct Connection: Sendable {
        let link: TransferLink
        let channel: RTCDataChannel
    }

    /// One connection after another; ends, with an error, when there will be none.
    nonisolated let connections: AsyncThrowingStream<Connection, any Error>
    private let feed: AsyncThrowingStream<Connection, any Error>.Continuation
    private let options: Options
    private let client: SignalingClient
    private let certificate: RTCCertificate
    private let fingerprint: [UInt8]
    private var iceServers: [RTCIceServer] = []
    /// Whether the code may still be tried.
    private var codeIsFresh = true
    private var resumption: [UInt8]?
    /// The exchange that is under way, and with whom.
    private var exchange: (peer: SignalingPeerID, pairing: Pairing, usesCode: Bool)?
    /// Who has proved to know the code, and the SHA-256 of its certificate.
    private var partner: (id: SignalingPeerID, fingerprint: [UInt8])?
    private var link: TransferLink?
    /// The certificate of the link's other side.
    private var linkFingerprint: [UInt8] = []
    private var others: [SignalingPeerID] = []
    private var failedLinks = 0
    private var reconnection: Task<Void, Never>?
    /// Ends the wait for a connection.
    private var waitingAgain: Task<Void, Never>?
    private var isOver = false
    private var hasJoined = false
    private var hasToldOfStrangers = false
    private var hasToldOfRefusal = false
    private var hasToldOfFullRoom = false
    /// Whether the server has said last that it has no place for this side.
    private var isRoomFull = false
    private var hasPaired = false
    /// Whether a connection was up at least once.
    private var hasConnected = false
    /// The partner has said that it will not come again.
    private var partnerHasEnded = false

    /// A meeting over a client that has just been made.
    init(options: Options, client: SignalingClient) throws {
        self.options = options
        self.client = client
        resumption = options.resumption
        certificate = try RTCCertificate()
        guard let bytes = SessionFingerprint.bytes(certificate.fingerprint) else {
            throw MeetingError.connection("the certificate has no SHA-256 fingerprint")
        }
        fingerprint = bytes
        (connections, feed) = AsyncThrowingStream.makeStream()
    }

    /// Runs until the task is cancelled or nothing can come of it.
    func run() async {
        let waiting = options.patience.map { patience in
            Task {
                try? await Task.sleep(for: patience)
                if !Task.isCancelled { endUnlessPaired() }
            }
        }
        defer { waiting?.cancel() }
        for await event in client.events {
            do {
                try await handle(event)
            } catch {
                feed.finish(throwing: error)
                break
            }
            if Task.isCancelled { break }
        }
        feed.finish(throwing: MeetingError.over)
        await leave()
    }

    /// Leaves the room, so that `run` ends.
    func leave() async {
        isOver = true
        reconnection?.cancel()
        waitingAgain?.cancel()
        await link?.close()
        link = nil
        await client.leave()
    }

    /// Says that this side will not come again.
    func sayFarewell() {
        if let partner { client.send(.bye, to: partner.id) }
    }

    /// Gives a connection up, after the transfer over it failed; another one is made, unless it is already.
    ///
    /// - Returns: false if there will be none, since either side has ended.
    func giveUp(_ connection: Connection) async -> Bool {
        await lostLink(connection.link)
        return !partnerHasEnded && !isOver
    }

    /// Says that there is nothing more to do, except for somebody who was lost and is just coming again.
    ///
    /// ``connections`` ends without an error unless there is another connection within `patience`.
    ///
    /// - Returns: whether somebody may be coming.
    func awaitLatecomer(after connection: Connection, for patience: Duration) async -> Bool {
        await lostLink(connection.link)
        guard !partnerHasEnded, !isOver, link != nil || partner != nil else { return false }
        waitingAgain?.cancel()
        waitingAgain = Task {
            try? await Task.sleep(for: patience)
            if !Task.isCancelled { feed.finish() }
        }
        return true
    }

    private func endUnlessPaired() {
        if !hasPaired { feed.finish(throwing: isRoomFull ? MeetingError.roomFull : .nobodyCame) }
    }

    /// Begins to wait for a connection, unless that has begun.
    private func waitAgain() {
        guard waitingAgain == nil, let patience = options.patienceAgain else { return }
        waitingAgain = Task {
            try? await Task.sleep(for: patience)
            if Task.isCancelled { return }
            if isRoomFull { return feed.finish(throwing: MeetingError.roomFull) }
            feed.finish(throwing: hasConnected || partner == nil ? MeetingError.stayedAway : .noConnection)
        }
    }

    // MARK: Signalling

    private func handle(_ event: SignalingEvent) async throws {
        switch event {
        case .joined(let place, let isResumed):
            isRoomFull = false
            iceServers = place.iceServers.map { RTCIceServer($0) }
            guard !isResumed else { return }
            if !hasJoined { try options.joined() }
            hasJoined = true
            partner = nil
            exchange = nil
            others = place.peers.map(\.id)
            if options.side == .second {
                if others.isEmpty {
                    options.note("Waiting for the other machine…")
                } else {
                    try await approachNext()
                }
            }
        case .iceServers(let servers): iceServers = servers.map { RTCIceServer($0) }
        case .peerJoined(let peer):
            others.append(peer.id)
            noteStrangers()
            if options.side == .second, partner == nil, exchange == nil { try await approachNext() }
        case .peerLeft(let id, _):
            others.removeAll { $0 == id }
            if exchange?.peer == id {
                let usedCode = exchange?.usesCode ?? false
                exchange = nil
                // Whoever goes away in the middle may have tried the code.
                if options.side == .first, usedCode { throw MeetingError.codeWasGuessed }
                if options.side == .second { try await approachNext() }
            }
            if partner?.id == id {
                // The connection between the two may well go on.
                partner = nil
                guard link == nil else { return }
                waitAgain()
                if options.side == .second { try await approachNext() }
            }
        case .message(let message, let id, let order): try await handle(message, order, from: id)
        case .disconnected(let error):
            if partnerHasEnded { return }
            if error.code != .unreachable { throw MeetingError.signaling(error) }
            if serverMatters { options.note("The signalling server does not answer; trying again.") }
        case .error(let error):
            if error.code == .unknownPeer { return }
            if error.code == .roomFull { return try waitForPlace() }
            if error.code == .serverStopping, !serverMatters { return }
            options.note(error.message)
        case .closed(let error): throw error.map { MeetingError.signaling($0) } ?? MeetingError.over
        }
    }

    private func handle(_ message: SignalingMessage, _ order: SignalingOrder?, from id: SignalingPeerID) async throws {
        switch message {
        case .pake(let text): try await pair(text, from: id)
        case .offer(let sdp):
            guard options.side == .first, let partner, partner.id == id else { return }
            await accept(sdp, order, from: partner)
        case .answer:
            guard options.side == .second, partner?.id == id else { return }
            await link?.receive(message, order)
        case .candidate:
            guard partner?.id == id else { return }
            await link?.receive(message, order)
        case .bye:
            guard partner?.id == id else { return }
            partnerHasEnded = true
            // What has come over a connection that was up is used to its end.
            let state = link?.connection.connectionState ?? .new
            if state == .new || state == .connecting { throw MeetingError.ended }
        }
    }

    /// The client tries again until there is a place, or the patience ends.
    private func waitForPlace() throws {
        // Who has just made the code up makes up another one instead.
        if options.side == .first, !hasJoined, resumption == nil { throw MeetingError.roomFull }
        isRoomFull = true
        guard !hasToldOfFullRoom else { return }
        hasToldOfFullRoom = true
        options.waits(
            "The room of this code is full of others, who may be strangers: trying again until it has a place for this machine."
        )
    }

    /// Whether the user should hear that the server is gone: a side's own goes with it, and who has paired hears of that.
    private var serverMatters: Bool { !hasPaired || options.serverIsAnothers }

    /// One other is who was told the code, as far as anybody knows; the more are strangers.
    private func noteStrangers() {
        guard options.side == .first, !hasToldOfStrangers, others.filter({ $0 != partner?.id }).count > 1 else {
            return
        }
        hasToldOfStrangers = true
        options.note(
            "Strangers are in the room of this code. They cannot listen in, but may keep the right one out: if it does not get here, start anew for a new code."
        )
    }

    // MARK: Pairing

    /// What a first says to those who want to go on while another exchange is under way; they come again.
    private static let busy = "somebody else is just pairing; try again"

    /// Asks the next one in the room whether it is the first.
    private func approachNext() async throws {
        guard partner == nil, exchange == nil, let id = others.first else { return }
        let secret: Pairing.Secret
        if let resumption {
            secret = .resumption(resumption)
        } else if let code = options.code, codeIsFresh {
            secret = .code(code)
            codeIsFresh = false
        } else {
            throw MeetingError.refused("it has gone, and the code was used")
        }
        let pairing = try makePairing(.initiator, secret)
        guard let hello = pairing.begin() else { return }
        exchange = (id, pairing, resumption == nil)
        client.send(.pake(hello), to: id)
    }

    private func pair(_ text: String, from id: SignalingPeerID) async throws {
        if options.side == .first, let resumes = Pairing.asksToResume(text) {
            return try answer(text, from: id, resumes: resumes)
        }
        guard let exchange, exchange.peer == id else { return try reconsider(text, from: id) }
        let step: Pairing.Step
        do throws(PairingError) {
            step = try exchange.pairing.receive(text)
        } catch {
            self.exchange = nil
            if case .refused = error {} else { client.send(.pake(Pairing.refusal("the code is wrong")), to: id) }
            switch options.side {
            case .first:
                if exchange.usesCode { throw MeetingError.codeWasGuessed }
                noteRefusal("Somebody tried to go on with this, and did not know what it left behind:")
            case .second:
                if error == .refused(Self.busy), !exchange.usesCode {
                    // In the end the first gives the other up.
                    Task { await approachAgain() }
                    return
                }
                others.removeAll { $0 == id }
                if error == .wrongCode, !exchange.usesCode { throw MeetingError.memoryDiffers }
                // Somebody else in the room may be the first, but the code was for one try.
                guard case .refused(let words) = error else { throw MeetingError.wrongCode }
                throw MeetingError.refused(words)
            }
            return
        }
        switch step {
        case .send(let reply): client.send(.pake(reply), to: id)
        case .done(let agreement, let reply):
            self.exchange = nil
            partner = (id, agreement.peerFingerprint)
            hasPaired = true
            partnerHasEnded = false
            resumption = agreement.resumption
            // Remembered before the other side knows: the code is used up with that.
            options.paired(agreement.resumption)
            if let reply { client.send(.pake(reply), to: id) }
            // This side has ended in the middle of the exchange: the other is not to wait for it.
            if isOver { return client.send(.bye, to: id) }
            // Pairing anew after the signalling connection broke leaves a connection that works alone; a first that
            // was started anew has another certificate.
            let isUp = link?.connection.connectionState == .connected && linkFingerprint == agreement.peerFingerprint
            if !isUp { waitAgain() }
            if isUp { await link?.repeatWords() }
            if options.side == .second, !isUp { try await connect() }
        }
    }

    /// Hears that the first had given the exchange up when this second's last word came to it.
    private func reconsider(_ text: String, from id: SignalingPeerID) throws {
        guard options.side == .second, partner?.id == id, exchange == nil, !hasConnected,
            let words = Pairing.words(ofRefusal: text)
        else { return }
        partner = nil
        hasPaired = false
        guard words == Self.busy, resumption != nil else { throw MeetingError.refused(words) }
        Task { await approachAgain() }
    }

    /// Answers somebody who wants to pair with this first.
    private func answer(_ hello: String, from id: SignalingPeerID, resumes: Bool) throws {
        func refuse(_ words: String) { client.send(.pake(Pairing.refusal(words)), to: id) }
        let secret: Pairing.Secret
        if resumes {
            guard let resumption else {
                // The very one that asks may have been killed before this side had its last word.
                return refuse(exchange == nil ? "there is no transfer to go on with" : Self.busy)
            }
            guard exchange == nil else { return refuse(Self.busy) }
            secret = .resumption(resumption)
        } else {
            if exchange?.usesCode == true {
                return refuse(
                    "somebody else is trying the code just now, and voids it, unless it is one of you: ask for a new one"
                )
            }
            guard let code = options.code, codeIsFresh, exchange == nil else {
                noteRefusal("Somebody wants to begin with this code, which was used already:")
                return refuse(
                    "the code was used already. If that was you, on another machine or before this one lost what it kept of it, start anew over there for a new code"
                )
            }
            secret = .code(code)
        }
        let pairing = try makePairing(.responder, secret)
        if !resumes { codeIsFresh = false }
        exchange = (id, pairing, !resumes)
        Task {
            try? await Task.sleep(for: options.exchangePatience)
            expire(pairing)
        }
        do throws(PairingError) {
            if case .send(let reply) = try pairing.receive(hello) { client.send(.pake(reply), to: id) }
        } catch {
            exchange = nil
            refuse("\(error)")
            if !resumes { throw MeetingError.codeWasGuessed }
        }
    }

    /// Who leaves an exchange open has had a guess, as far as anybody knows.
    private func expire(_ pairing: Pairing) {
        guard let exchange, exchange.pairing === pairing else { return }
        self.exchange = nil
        // It may be the right one, on a slow path or machine: who goes on comes again.
        let words = exchange.usesCode ? "the exchange of keys took too long, which voids the code" : Self.busy
        client.send(.pake(Pairing.refusal(words)), to: exchange.peer)
        if exchange.usesCode { feed.finish(throwing: MeetingError.codeWasGuessed) }
    }

    private func approachAgain() async {
        try? await Task.sleep(for: .seconds(1))
        do { try await approachNext() } catch { feed.finish(throwing: error) }
    }

    /// Says once that somebody was refused who may well be the right one.
    private func noteRefusal(_ what: String) {
        guard !hasToldOfRefusal else { return }
        hasToldOfRefusal = true
        options.note(
            "\(what) refused. If that was the other machine, which has lost what it kept, end this and start anew for a new code."
        )
    }

    private func makePairing(_ role: Pairing.Role, _ secret: Pairing.Secret) throws -> Pairing {
        var random = SystemRandomNumberGenerator()
        return try Pairing(
            role: role,
            secret: secret,
            fingerprint: fingerprint,
            random: (0..<48).map { _ in UInt8.random(in: 0...255, using: &random) }
        )
    }

    // MARK: Connecting

    /// A new link in place of the present one.
    ///
    /// In one step: whoever waits for the old one to end, and learns that it was lost, finds that it is not the present
    /// one any more.
    private func replaceLink(for partner: (id: SignalingPeerID, fingerprint: [UInt8])) async throws -> TransferLink {
        let old = link
        link = nil
        let made: TransferLink
        do { made = try makeLink(partner) } catch {
            await old?.close()
            throw error
        }
        link = made
        await old?.close()
        return made
    }

    private func makeLink(_ partner: (id: SignalingPeerID, fingerprint: [UInt8])) throws -> TransferLink {
        var configuration = options.configuration
        configuration.iceServers += iceServers
        configuration.certificate = certificate
        linkFingerprint = partner.fingerprint
        let client = client
        return try TransferLink(
            configuration: configuration,
            fingerprint: partner.fingerprint,
            signal: { client.send($0, to: partner.id, order: $1) },
            problem: options.note,
            channel: options.channel,
            opened: { [weak self] link, channel in await self?.opened(link, channel) },
            lost: { [weak self] link in await self?.lostLink(link) }
        )
    }

    /// The second's part: a new connection, offered to the partner.
    private func connect() async throws {
        guard let partner, options.side == .second else { return }
        try await replaceLink(for: partner).offer()
    }

    /// The first's part.
    private func accept(
        _ offer: String,
        _ order: SignalingOrder?,
        from partner: (id: SignalingPeerID, fingerprint: [UInt8])
    ) async {
        guard SessionFingerprint.isOnly(partner.fingerprint, in: offer) else {
            return options.note(TransferLink.otherCertificate)
        }
        do {
            if let link, await link.isRestart(offer) {
                await link.receive(.offer(sdp: offer), order)
            } else {
                try await replaceLink(for: partner).receive(.offer(sdp: offer), order)
            }
        } catch {
            options.note("cannot connect: \(error)")
        }
    }

    private func opened(_ link: TransferLink, _ channel: RTCDataChannel) {
        guard self.link === link else { return }
        failedLinks = 0
        hasConnected = true
        waitingAgain?.cancel()
        waitingAgain = nil
        feed.yield(Connection(link: link, channel: channel))
    }

    private func lostLink(_ lost: TransferLink?) async {
        guard let lost, link === lost else { return }
        link = nil
        await lost.close()
        if partnerHasEnded { return feed.finish(throwing: MeetingError.ended) }
        guard link == nil, !isOver else { return }
        waitAgain()
        failedLinks += 1
        if !hasConnected, failedLinks == 1 { options.note("Trying again: \(MeetingError.noPath).") }
        guard options.side == .second, partner != nil else { return }
        // At once, then ever slower: 0, 0.5, 1, 2, 4, 8, 8 … seconds.
        let delay = failedLinks > 1 ? Duration.milliseconds(250 << min(failedLinks - 1, 5)) : .zero
        reconnection?.cancel()
        // In a task of its own: this may run in one of the lost link's, which has just cancelled them.
        reconnection = Task { await reconnect(after: delay) }
    }

    private func reconnect(after delay: Duration) async {
        if delay > .zero { try? await Task.sleep(for: delay) }
        guard link == nil, !Task.isCancelled else { return }
        do { try await connect() } catch { options.note("cannot connect: \(error)") }
    }
}
