import PeerConnection
import Signaling
import TerminalUI

/// What a call shows: sentences and one live line for people, or one JSON object a line.
struct CallOutput: Sendable {
    let isJSON: Bool
    private let statusLine: StatusLine
    private let meter = LevelMeter()
    /// Whether levels are drawn as bars, more often than all else.
    var hasMeter: Bool { !isJSON && Terminal.standardError.isInteractive }

    init(isJSON: Bool) {
        self.isJSON = isJSON
        statusLine = StatusLine(isTypedBelow: !isJSON && Terminal.isStandardInputInteractive)
    }

    /// A line was typed, whatever it says.
    func entered(_ line: String) { if !isJSON { statusLine.entered(line) } }

    /// A sentence for people; not part of the JSON output.
    func say(_ sentence: String) {
        if !isJSON { statusLine.print(TerminalText.printable(sentence)) }
    }

    /// Text that is already fit for a terminal, as a QR code.
    func draw(_ lines: [String]) {
        if !isJSON { for line in lines { statusLine.print(line) } }
    }

    /// What a view draws beside the lines.
    func overlay(_ text: String) { statusLine.overlay(text) }

    /// What of this side the others get.
    func sending(microphone: Bool?, camera: Bool?) {
        guard isJSON else {
            func words(_ noun: String, _ isOn: Bool?) -> String? { isOn.map { "\(noun) \($0 ? "on" : "off")" } }
            return say(
                [words("Microphone", microphone), words("camera", camera)].compactMap { $0 }.joined(separator: ", ")
            )
        }
        var line = JSONLine(event: "sending")
        if let microphone { line["microphone"] = .bool(microphone) }
        if let camera { line["camera"] = .bool(camera) }
        Terminal.standardOutput.write(line.text)
    }

    func ready(url: String, server: String, room: String, certificate: String?) {
        guard isJSON else { return }
        var line = JSONLine(event: "ready")
        line["url"] = .string(url)
        line["server"] = .string(server)
        line["room"] = .string(room)
        if let certificate { line["certificate"] = .string(certificate) }
        Terminal.standardOutput.write(line.text)
    }

    func peer(_ peer: SignalingPeer, state: String) {
        emit("peer", ["peer": .string(peer.id.rawValue), "name": .string(peer.name), "state": .string(state)])
        say("\(Self.name(peer)) is \(state)")
    }

    func phases(_ peer: SignalingPeer, _ phases: CallPhases) {
        var line = JSONLine(event: "phases")
        line["peer"] = .string(peer.id.rawValue)
        for (name, value) in phases.milliseconds { line[name] = .number((value * 10).rounded() / 10) }
        if isJSON { Terminal.standardOutput.write(line.text) }
        let text = phases.milliseconds.map { "\($0.0) \(Int($0.1.rounded())) ms" }.joined(separator: ", ")
        say("Set up with \(Self.name(peer)): \(text)")
    }

    func chat(_ peer: SignalingPeer, _ text: String) {
        emit("chat", ["peer": .string(peer.id.rawValue), "from": .string(Self.name(peer)), "text": .string(text)])
        say("\(Self.name(peer)): \(text)")
    }

    func file(_ peer: SignalingPeer, _ file: TransferredFile, isReceived: Bool) {
        emit(
            "file",
            [
                "peer": .string(peer.id.rawValue), "direction": isReceived ? "received" : "sent",
                "name": .string(file.name), "path": .string(file.path), "bytes": .integer(Int64(file.byteCount)),
                "sha256": .string(file.sha256),
            ]
        )
        say(
            isReceived
                ? "Received \(file.path) (\(Amount.bytes(file.byteCount))) from \(Self.name(peer))"
                : "Sent \(file.name) (\(Amount.bytes(file.byteCount))) to \(Self.name(peer))"
        )
    }

    /// What a recording came to; nothing is said of one that nothing came for.
    func recording(_ peer: SignalingPeer, _ recording: MediaRecorder.Summary) {
        guard recording.byteCount > 0 else { return }
        let seconds =
            Double(recording.duration.components.seconds) + Double(recording.duration.components.attoseconds) / 1e18
        emit(
            "recording",
            [
                "peer": .string(peer.id.rawValue), "path": .string(recording.path),
                "bytes": .integer(Int64(recording.byteCount)), "seconds": .number((seconds * 1_000).rounded() / 1_000),
                "videoFrames": .integer(Int64(recording.videoFrameCount)),
                "audioFrames": .integer(Int64(recording.audioFrameCount)),
                "droppedFrames": .integer(Int64(recording.droppedFrameCount)),
            ]
        )
        let dropped = recording.droppedFrameCount
        say(
            "Recorded \(Self.name(peer)): \(recording.path) (\(Amount.bytes(recording.byteCount)), \(Int(seconds.rounded())) s)"
                + (dropped > 0 ? "; the disk was too slow for \(dropped) frames" : "")
        )
    }

    func problem(_ message: String) {
        emit("error", ["message": .string(message)])
        say("! \(message)")
    }

    func ended(_ reason: String) {
        if isJSON {
            emit("ended", ["reason": .string(reason)])
        } else {
            statusLine.finish(TerminalText.printable("The call ended: \(reason)"))
        }
    }

    /// A second's counts of one connection.
    func statistics(_ peer: SignalingPeer, _ now: RTCStatsReport, before: RTCStatsReport?, state: String) {
        let received = now.inboundRTP.filter { $0.kind == .video }.max { $0.framesDecoded < $1.framesDecoded }
        let sent = now.outboundRTP.first { $0.kind == .video }
        let pair = now.selectedCandidatePair
        let path = pair.map { "\($0.localType)/\($0.remoteType) \($0.relayProtocol ?? $0.protocol)" }
        let roundTrip = pair?.currentRoundTripTime
        let levels = LevelMeter.Levels(now, before: before)
        if isJSON {
            var line = JSONLine(event: "statistics")
            line["peer"] = .string(peer.id.rawValue)
            line["framesEncoded"] = .integer(Int64(sent?.framesEncoded ?? 0))
            line["framesSent"] = .integer(Int64(sent?.framesEncoded ?? 0))
            if let sent, !sent.codec.isEmpty { line["sentCodec"] = .string(sent.codec) }
            if let sent, !sent.encoderImplementation.isEmpty {
                line["encoderImplementation"] = .string(sent.encoderImplementation)
            }
            line["framesReceived"] = .integer(Int64(received?.framesReceived ?? 0))
            line["framesDecoded"] = .integer(Int64(received?.framesDecoded ?? 0))
            line["frameWidth"] = .integer(Int64(received?.frameWidth ?? 0))
            line["frameHeight"] = .integer(Int64(received?.frameHeight ?? 0))
            line["bytesSent"] = .integer(Int64(now.transport.bytesSent))
            line["bytesReceived"] = .integer(Int64(now.transport.bytesReceived))
            line["packetsSent"] = .integer(Int64(now.transport.packetsSent))
            line["packetsReceived"] = .integer(Int64(now.transport.packetsReceived))
            line["packetsLost"] = .integer(Int64(now.inboundRTP.reduce(0) { $0 + $1.packetsLost }))
            line["targetBitrate"] = .integer(Int64(sent?.targetBitrate ?? 0))
            if let roundTrip { line["roundTripTime"] = .number(roundTrip) }
            if let jitter = received?.jitter { line["jitter"] = .number(jitter) }
            if let path { line["path"] = .string(path) }
            if let level = levels.sent { line["sentAudioLevel"] = .number(level) }
            if let level = levels.received { line["receivedAudioLevel"] = .number(level) }
            if let hasVoice = levels.hasVoice { line["voiceActivity"] = .bool(hasVoice) }
            Terminal.standardOutput.write(line.text)
            return
        }
        let packets = now.inboundRTP.reduce(0) { $0 + $1.packetsReceived }
        let lost = max(0, now.inboundRTP.reduce(0) { $0 + $1.packetsLost })
        var segments = [state]
        let rates = before.map { Rates(now, since: $0) }
        if let received, received.frameWidth > 0 {
            let rate = rates.map { " \(Int($0.frames.rounded())) fps" } ?? ""
            segments.append("\(received.frameWidth)x\(received.frameHeight)\(rate)")
        }
        if let rates {
            segments.append("↑ \(Amount.bitRate(perSecond: rates.up))  ↓ \(Amount.bitRate(perSecond: rates.down))")
        }
        if let roundTrip { segments.append("RTT \(Amount.latency(.seconds(roundTrip)))") }
        segments.append("loss \(Amount.percent(packets + lost > 0 ? Double(lost) / Double(packets + lost) : 0))")
        if let path { segments.append(path) }
        meter.others = segments
        show(levels)
    }

    /// The levels of this side and of one other, since the report before.
    func levels(_ now: RTCStatsReport, before: RTCStatsReport?) {
        guard !isJSON, !meter.others.isEmpty else { return }
        show(LevelMeter.Levels(now, before: before))
    }

    private func show(_ levels: LevelMeter.Levels) {
        var segments = meter.others
        segments.insert(LevelMeter.text(levels), at: min(1, segments.count))
        statusLine.show(segments, at: .now)
    }

    static func name(_ peer: SignalingPeer) -> String { peer.name.isEmpty ? peer.id.rawValue : peer.name }

    private func emit(_ event: String, _ members: KeyValuePairs<String, JSONLine.Value>) {
        guard isJSON else { return }
        var line = JSONLine(event: event)
        for (name, value) in members { line[name] = value }
        Terminal.standardOutput.write(line.text)
    }
}

/// What a connection did a second between two reports.
private struct Rates {
    /// Pictures that were decoded.
    let frames: Double
    /// Bits that were sent and received.
    let (up, down): (Double, Double)

    init(_ now: RTCStatsReport, since before: RTCStatsReport) {
        let seconds = max(0.001, Double(now.timestampNanoseconds - before.timestampNanoseconds) / 1e9)
        func decoded(_ report: RTCStatsReport) -> Double {
            Double(report.inboundRTP.filter { $0.kind == .video }.map(\.framesDecoded).max() ?? 0)
        }
        frames = (decoded(now) - decoded(before)) / seconds
        up = (Double(now.transport.bytesSent) - Double(before.transport.bytesSent)) * 8 / seconds
        down = (Double(now.transport.bytesReceived) - Double(before.transport.bytesReceived)) * 8 / seconds
    }
}

/// When the steps of a set-up were done, measured from the offer.
struct CallPhases: Sendable {
    var offer: ContinuousClock.Instant
    var ice: ContinuousClock.Instant?
    var dtls: ContinuousClock.Instant?
    var firstPacket: ContinuousClock.Instant?
    var firstFrame: ContinuousClock.Instant?

    /// Names and milliseconds of the steps that are done, in order.
    var milliseconds: [(String, Double)] {
        [("ice", ice), ("dtls", dtls), ("firstPacket", firstPacket), ("firstFrame", firstFrame)].compactMap {
            name,
            instant in
            instant.map { (name, Double((($0 - offer) / .microseconds(1))) / 1_000) }
        }
    }
}
