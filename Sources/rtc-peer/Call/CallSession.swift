import Display
import PeerConnection
import Signaling
import TerminalUI

/// One call from the first join to the last word: everybody in the room, each with a connection of its own.
actor CallSession {
    struct Options: Sendable {
        var name: String
        var room: String
        var duration: Duration?
        var recordings: RecordingPlace?
        var downloadDirectory: String?
        /// Of each connection; what the signalling server recommends comes on top.
        var configuration: RTCConfiguration
        /// Whether silence is not sent.
        var hasDTX = false
        /// Whether the call goes on when the last other participant has hung up.
        var staysAlone: Bool
        /// Called once the room is joined for the first time.
        var joined: (@Sendable () -> Void)?
    }

    /// Why a call is over.
    struct Ending: Sendable {
        var reason: String
        /// Whether the call never came about, or signalling refused to go on.
        var isFailure = false
    }

    /// Everything that happens, in one queue.
    private enum Happening: Sendable {
        case signaling(SignalingEvent)
        case call(CallEvent)
        case request(CallRequest)
        case deviceLost(CallDevice, MediaError?)
        case deviceReturned(CallDevice, CallDevice)
        case speakerLost(ALSASpeaker, MediaError)
        case speakerReturned(ALSASpeaker)
        case second
        /// The bars of the status line are drawn anew.
        case meter
        case interrupted
        case timeOver
    }

    private let options: Options
    private let client: SignalingClient
    private var media: CallMedia
    private let output: CallOutput
    private var peers: [SignalingPeerID: CallPeer] = [:]
    private var recorders: [SignalingPeerID: MediaRecorder] = [:]
    private var phases: [SignalingPeerID: CallPhases] = [:]
    private var reports: [SignalingPeerID: RTCStatsReport] = [:]
    /// The report that the bars were drawn by last.
    private var metered: (peer: SignalingPeerID, report: RTCStatsReport)?
    private var subscriptions: [SignalingPeerID: [MediaSubscription]] = [:]
    private var iceServers: [RTCIceServer] = []
    private var hasJoined = false
    /// Whether the server can tell what becomes of others.
    private var hearsServer = false
    /// Those who have ended their connection, of whom the server has not said why yet.
    private var closing: Set<SignalingPeerID> = []
    /// Puts something into the queue.
    private var happen: (@Sendable (Happening) -> Void)?
    /// For devices to be plugged in again, by the ids of their tracks.
    private var waits: [String: Task<Void, Never>] = [:]
    private var view: (any CallView)?
    private var preview: MediaSubscription?

    init(options: Options, client: SignalingClient, media: CallMedia, output: CallOutput) {
        self.options = options
        self.client = client
        self.media = media
        self.output = output
    }

    /// Runs the call.
    ///
    /// - Parameters:
    ///   - isJSON: whether commands come as JSON.
    ///   - view: shows the pictures.
    ///   - requests: what is asked for in it.
    /// - Returns: why it ended.
    func run(isJSON: Bool, view: (any CallView)? = nil, requests: AsyncStream<ViewRequest> = .init { $0.finish() })
        async
        -> Ending
    {
        self.view = view
        startPreview()
        let (happenings, feed) = AsyncStream<Happening>.makeStream()
        let tasks = [
            Task { [client] in for await event in client.events { feed.yield(.signaling(event)) } },
            Task { [output] in
                let commands = CallInput.commands(isJSON: isJSON) { output.entered($0) }
                for await request in commands { feed.yield(.request(request)) }
            },
            Task { for await request in requests { feed.yield(.request(CallRequest(request))) } },
            Task { for await _ in Interrupts.stream() { feed.yield(.interrupted) } },
            Task {
                while !Task.isCancelled {
                    try? await Task.sleep(for: .seconds(1))
                    feed.yield(.second)
                }
            },
            Task { [output] in
                while output.hasMeter, !Task.isCancelled {
                    try? await Task.sleep(for: .milliseconds(200))
                    feed.yield(.meter)
                }
            },
            Task { [options] in
                guard let duration = options.duration else { return }
                try? await Task.sleep(for: duration)
                if !Task.isCancelled { feed.yield(.timeOver) }
            },
        ]
        happen = { feed.yield($0) }
        for device in media.devices { watch(device) }
        for (noun, file) in media.files {
            file.addFailureHandler { error in
                feed.yield(.call(.problem(nil, "the \(noun) has stopped: \(error)")))
            }
        }
        media.screen?.setEventHandler { event in
            guard case .ended(let reason) = event else { return }
            let why = reason.map { "\($0)" } ?? "it gives nothing more"
            feed.yield(.call(.problem(nil, "the screen is not sent any more (\(why)): the call goes on without it")))
        }
        if let speaker = media.speaker {
            speaker.addFailureHandler { [weak speaker] reason in
                if let speaker { feed.yield(.speakerLost(speaker, reason)) }
            }
            do throws(MediaError) { try speaker.start() } catch { feed.yield(.speakerLost(speaker, error)) }
        }
        var ending = Ending(reason: "the signalling connection ended")
        for await happening in happenings {
            if let end = await handle(happening, feed: { feed.yield(.call($0)) }) {
                ending = end
                break
            }
        }
        for task in tasks + waits.values { task.cancel() }
        happen = nil
        await client.leave()
        for id in peers.keys { await close(id) }
        media.speaker?.stop()
        preview?.cancel()
        return ending
    }

    private func startPreview() {
        guard let pictures = view?.pictures, let track = media.video else { return }
        // Whoever takes the pictures themselves ends the camera's own encoding.
        guard track.preferredEncodings.isEmpty else {
            output.say("Your own picture is not shown: it is sent as \(track.label) has encoded it.")
            return
        }
        do {
            preview = try track.addVideoTaker { pictures.showPreview($0) }
        } catch {
            output.problem("the picture that is sent is not shown: \(error)")
        }
    }

    /// - Returns: the end if the call is over.
    private func handle(_ happening: Happening, feed: @escaping @Sendable (CallEvent) -> Void) async -> Ending? {
        switch happening {
        case .signaling(let event): return await handle(event, feed: feed)
        case .call(let event): return await handle(event).map { Ending(reason: $0) }
        case .request(let request): return await handle(request).map { Ending(reason: $0) }
        case .deviceLost(let device, let reason): lost(device, reason)
        case .deviceReturned(let old, let new): await replace(old, with: new)
        case .speakerLost(let speaker, let reason): lost(speaker, reason)
        case .speakerReturned(let speaker):
            output.speaker(speaker, change: "added", "The loudspeaker is back: \(speaker.name)")
        case .second: await report()
        case .meter: await drawMeter()
        case .interrupted: return Ending(reason: "interrupted")
        case .timeOver:
            let unjoined = hasJoined ? "" : "; the room was never joined"
            return Ending(reason: "the time given by --duration is over" + unjoined, isFailure: !hasJoined)
        }
        return nil
    }

    // MARK: Devices

    /// Hears when a device ends by itself.
    private func watch(_ device: CallDevice) {
        guard let happen else { return }
        device.track.setEventHandler { event in
            if case .ended(let reason) = event { happen(.deviceLost(device, reason)) }
        }
        // It may have ended before.
        if device.track.readyState == .ended { happen(.deviceLost(device, device.track.endReason)) }
    }

    /// The call goes on, and takes the device again when it can be had.
    private func lost(_ device: CallDevice, _ reason: MediaError?) {
        guard let happen, waits[device.track.id] == nil else { return }
        let why = reason.map { "\($0)" } ?? "it gives nothing more"
        output.device(
            device,
            change: "removed",
            "The \(device.noun) has stopped (\(why)): the call goes on without it until it is back."
        )
        waits[device.track.id] = Task {
            if let new = await device.returned() { happen(.deviceReturned(device, new)) }
        }
    }

    /// The call goes on, and is heard again when the loudspeaker is plugged in.
    ///
    /// It is tried again and again: of sound servers that come back no kernel tells.
    private func lost(_ speaker: ALSASpeaker, _ reason: MediaError) {
        guard let happen else { return }
        // It may be gone again before its return was told.
        waits[speaker.name]?.cancel()
        let words = "The loudspeaker has stopped (\(reason)): what the others say is not played until it is back."
        output.speaker(speaker, change: "removed", words)
        waits[speaker.name] = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: .seconds(2))
                guard !Task.isCancelled, (try? speaker.start()) != nil else { continue }
                return happen(.speakerReturned(speaker))
            }
        }
    }

    private func replace(_ old: CallDevice, with new: CallDevice) async {
        media.replace(old.track, with: new)
        if new.track.kind == .video {
            preview?.cancel()
            startPreview()
        }
        for peer in peers.values { await peer.replace(old.track, with: new.track) }
        output.device(new, change: "added", "The \(new.noun) is back: \(new.description)")
        watch(new)
    }

    // MARK: Signalling

    private func handle(_ event: SignalingEvent, feed: @escaping @Sendable (CallEvent) -> Void) async -> Ending? {
        switch event {
        case .joined(let place, let isResumed):
            hearsServer = true
            if !hasJoined {
                hasJoined = true
                options.joined?()
            }
            await use(place.iceServers)
            if !isResumed {
                for id in peers.keys where !place.peers.contains(where: { $0.id == id }) { await becomeAbsent(id) }
                // The newcomer calls everybody who is there, unless their connection has outlived the server.
                for peer in place.peers where await !resume(peer.id) { await open(peer, isInitiator: true, feed: feed) }
            }
        case .iceServers(let servers): await use(servers)
        case .peerJoined(let peer):
            if await !resume(peer.id) { await open(peer, isInitiator: false, feed: feed) }
        case .peerLeft(let id, .lost): await becomeAbsent(id)
        case .peerLeft(let id, let why):
            return await left(id, saidGoodbye: why == .bye).map { Ending(reason: $0) }
        case .message(let message, let id, let order):
            if case .bye = message { return await left(id, saidGoodbye: true).map { Ending(reason: $0) } }
            if case .offer(let sdp) = message, let peer = peers[id], await peer.isForeign(offer: sdp) {
                await open(peer.remote, isInitiator: false, feed: feed)
            }
            if case .offer = message, phases[id] == nil { phases[id] = CallPhases(offer: .now) }
            let peer = peers[id]
            await peer?.receive(message, order)
        case .disconnected(let error):
            // Of no use to try again: another server must be named, or its certificate.
            if !hasJoined, error.code != .unreachable {
                return refused(error, "look at --server and --server-fingerprint")
            }
            output.problem("The signalling server does not answer (\(error)); calls go on, trying again.")
            hearsServer = false
            for id in closing { if let reason = await left(id, saidGoodbye: true) { return Ending(reason: reason) } }
        // Who leaves at once has gone before the answer.
        case .error(let error) where error.code == .unknownPeer: break
        case .error(let error): output.problem(error.message)
        case .closed(let error?): return refused(error, "another --room or --server may do")
        case .closed(nil): return Ending(reason: "left the room")
        }
        return nil
    }

    /// Connections that are there use the servers' new credentials when they look for another way.
    private func use(_ servers: [SignalingICEServer]) async {
        iceServers = servers.map { RTCIceServer($0) }
        for peer in peers.values { await peer.use(options.configuration.iceServers + iceServers) }
    }

    private func refused(_ error: SignalingError, _ advice: String) -> Ending {
        let message = error.message.hasSuffix(".") ? String(error.message.dropLast()) : error.message
        output.problem("\(message); \(advice)")
        return Ending(reason: "signalling failed: \(message)", isFailure: true)
    }

    private func open(_ peer: SignalingPeer, isInitiator: Bool, feed: @escaping @Sendable (CallEvent) -> Void) async {
        await close(peer.id)
        var configuration = options.configuration
        configuration.iceServers += iceServers
        if configuration.iceTransportPolicy == .relay,
            !configuration.iceServers.contains(where: { $0.urls.contains { $0.lowercased().hasPrefix("turn") } })
        {
            output.problem("--relay-only reaches nobody without a TURN server: name one by --ice-server turn:HOST")
        }
        let client = client
        do {
            let callPeer = try CallPeer(
                remote: peer,
                isInitiator: isInitiator,
                configuration: configuration,
                downloads: options.downloadDirectory,
                hasDTX: options.hasDTX,
                signal: { message, order in client.send(message, to: peer.id, order: order) },
                report: feed
            )
            peers[peer.id] = callPeer
            if isInitiator { phases[peer.id] = CallPhases(offer: .now) }
            output.peer(peer, state: "connecting")
            view?.pictures.add(peer.id.rawValue, name: TerminalText.printable(CallOutput.name(peer)))
            startRecording(peer, feed: feed)
            try await callPeer.start(tracks: media.tracks)
        } catch {
            output.problem("cannot connect to \(CallOutput.name(peer)): \(error)")
        }
    }

    private func startRecording(_ peer: SignalingPeer, feed: @escaping @Sendable (CallEvent) -> Void) {
        guard let place = options.recordings else { return }
        let name = CallOutput.name(peer)
        do throws(MediaError) {
            recorders[peer.id] = try MediaRecorder(path: place.freePath(for: name), title: name) { error in
                feed(.problem(peer, "recording: \(error)"))
            }
        } catch {
            output.problem("\(name) is not recorded: \(error)")
        }
    }

    /// The server has lost a peer: a connection that works goes on, and ends by itself.
    private func becomeAbsent(_ id: SignalingPeerID) async {
        guard let peer = peers[id], await !peer.becomeAbsent() else { return }
        _ = await left(id, saidGoodbye: false)
    }

    /// - Returns: whether there is a connection with that peer already that goes on.
    private func resume(_ id: SignalingPeerID) async -> Bool { await peers[id]?.resume() ?? false }

    private func left(_ id: SignalingPeerID, saidGoodbye: Bool) async -> String? {
        guard let peer = peers[id] else { return nil }
        output.peer(peer.remote, state: "closed")
        await close(id)
        guard saidGoodbye, peers.isEmpty, !options.staysAlone else { return nil }
        return "\(CallOutput.name(peer.remote)) hung up"
    }

    private func close(_ id: SignalingPeerID) async {
        if let recorder = recorders.removeValue(forKey: id), let peer = peers[id] {
            output.recording(peer.remote, await recorder.stop())
        }
        phases[id] = nil
        closing.remove(id)
        reports[id] = nil
        subscriptions[id] = nil
        view?.pictures.remove(id.rawValue)
        let peer = peers.removeValue(forKey: id)
        await peer?.close()
    }

    // MARK: Connections

    private func handle(_ event: CallEvent) async -> String? {
        switch event {
        case .phase(let peer, .iceConnected): note(\.ice, of: peer)
        case .phase(let peer, .firstPacket): note(\.firstPacket, of: peer)
        case .phase(let peer, .firstFrame):
            guard phases[peer.id]?.firstFrame == nil else { return nil }
            note(\.firstFrame, of: peer)
            if let phases = phases[peer.id] { output.phases(peer, phases) }
        case .stateChanged(let peer, let state):
            guard peers[peer.id] != nil else { return nil }
            if state == .connected { note(\.dtls, of: peer) }
            if state != .closed && state != .new && state != .connecting { output.peer(peer, state: state.rawValue) }
            // What breaks the connection may have broken that to the server, too.
            if state == .disconnected || state == .failed { client.check() }
            if state == .failed, await peers[peer.id]?.isAbsent ?? false {
                return await left(peer.id, saidGoodbye: false)
            }
        // This side's network has changed: what should tell the others of it may have broken, too.
        case .lateCandidate: client.check()
        case .track(let peer, let track, let feed): take(track, of: peer, feed: feed)
        case .remoteClosed(let peer):
            if await peers[peer.id]?.isAbsent ?? false { return await left(peer.id, saidGoodbye: false) }
            // Why, the server tells: a page may have been reloaded. Without it nothing else will be heard of the peer.
            guard hearsServer else { return await left(peer.id, saidGoodbye: true) }
            closing.insert(peer.id)
        case .chat(let peer, let text, _): output.chat(peer, text)
        case .fileReceived(let peer, let file): output.file(peer, file, isReceived: true)
        case .fileSent(let peer, let file): output.file(peer, file, isReceived: false)
        case .problem(let peer, let message):
            output.problem(peer.map { "\(CallOutput.name($0)): \(message)" } ?? message)
        }
        return nil
    }

    /// Notes when a step of the set-up was done first.
    private func note(_ step: WritableKeyPath<CallPhases, ContinuousClock.Instant?>, of peer: SignalingPeer) {
        guard var phases = phases[peer.id], phases[keyPath: step] == nil else { return }
        phases[keyPath: step] = .now
        self.phases[peer.id] = phases
    }

    private func take(_ event: RTCTrackEvent, of peer: SignalingPeer, feed: @escaping @Sendable (CallEvent) -> Void) {
        event.track.setMuteHandler { isMuted in
            if !isMuted { feed(.phase(peer, .firstPacket)) }
        }
        do {
            try recorders[peer.id]?.record(event.receiver)
        } catch {
            output.problem("\(CallOutput.name(peer)) is not recorded: \(error)")
        }
        do {
            // Decoding shows that the call works, even when nobody watches here.
            switch event.track.kind {
            case .video:
                let first = OnceFlag()
                let pictures = view?.pictures
                let subscription = try event.track.addVideoTaker { picture in
                    if first.take() { feed(.phase(peer, .firstFrame)) }
                    pictures?.show(picture, of: peer.id.rawValue)
                }
                subscriptions[peer.id, default: []].append(subscription)
            case .audio:
                let input = media.speaker?.makeInput()
                let subscription = try event.track.addAudioTaker { input?.take($0) }
                subscriptions[peer.id, default: []].append(subscription)
            }
        } catch {
            output.problem("\(error)")
        }
    }

    private func handle(_ request: CallRequest) async -> String? {
        switch request {
        case .chat(let text):
            if peers.isEmpty { output.problem("nobody is here to read that") }
            for peer in peers.values { await peer.say(text) }
        case .sendFile(let path):
            if peers.isEmpty { output.problem("nobody is here to take \(path)") }
            for peer in peers.values { await peer.send(file: path) }
        case .microphone(let isOn): set(media.audio, isOn, noun: "sound")
        case .camera(let isOn): set(media.video, isOn, noun: "picture")
        case .hangUp: return "hung up"
        case .unknown(let message): output.problem(message)
        }
        return nil
    }

    private func set(_ track: MediaStreamTrack?, _ isOn: Bool?, noun: String) {
        guard let track else { return output.problem("no \(noun) is sent in this call") }
        track.enabled = isOn ?? !track.enabled
        output.sending(microphone: media.audio?.enabled, camera: media.video?.enabled)
        view?.pictures.set(
            isMicrophoneOff: media.audio?.enabled == false,
            isCameraOff: media.video?.enabled == false
        )
    }

    /// The bars of this side and of one that is connected.
    private func drawMeter() async {
        guard let (id, peer) = peers.first(where: { $0.value.connection.connectionState == .connected }) else { return }
        let report = await peer.connection.getStats()
        output.levels(report, before: metered?.peer == id ? metered?.report : nil)
        metered = (id, report)
    }

    private func report() async {
        for (id, peer) in peers {
            let connection = peer.connection
            guard connection.connectionState == .connected || connection.connectionState == .disconnected else {
                continue
            }
            let report = await connection.getStats()
            output.statistics(peer.remote, report, before: reports[id], state: connection.connectionState.rawValue)
            if reports[id] != nil { hintAtStillScreen(report) }
            reports[id] = report
        }
    }

    /// Says once that nothing comes of the screen, a second or two after it is wanted.
    private func hintAtStillScreen(_ report: RTCStatsReport) {
        guard let hint = media.stillScreenHint, let sent = report.outboundRTP.first(where: { $0.kind == .video }) else {
            return
        }
        media.stillScreenHint = nil
        if sent.framesEncoded == 0 { output.say(hint) }
    }
}
