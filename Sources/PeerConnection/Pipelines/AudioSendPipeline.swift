internal import Locking
package import Media
package import RTP
internal import SansIO

/// Sound of a track, cut into blocks of 20 ms and encoded on a thread of its own; with DTX, without its pauses.
final class AudioSendPipeline: SendPipeline {
    private struct State {
        var subscription: MediaSubscription?
        var track: MediaStreamTrack?
        var isActive = false
        var isStopped = false
        var framesEncoded = 0
    }

    let mid: String
    private let state = Mutex(State())
    private let worker: WorkerThread<AudioFrame>
    private let counter: Counter
    private let meter = SoundMeter()
    private let retry: SourceRetry

    /// What the worker has done, and what it is told.
    final class Counter: Sendable {
        /// Blocks encoded and sent so far.
        let count = Atomic<Int>(0)
        /// Whether silence is left out.
        let hasDTX = Atomic<Bool>(false)
    }

    /// A pipeline without a track; `refused` is told why one gives nothing, until it does.
    init(
        mid: String,
        codec: RTPCodec,
        refused: @escaping @Sendable (RTCError) -> Void,
        send: @escaping @Sendable (EncodedFrame) -> Void
    ) {
        self.mid = mid
        retry = SourceRetry(tell: refused)
        let counter = Counter()
        self.counter = counter
        // Touched only by the worker's thread, one job after another.
        nonisolated(unsafe) let encoding = AudioEncoding(codec: codec)
        worker = WorkerThread(name: "audio encoder", limit: 25) { frame in
            for block in unsafe encoding.encode(frame, hasDTX: counter.hasDTX.load(ordering: .relaxed)) {
                counter.count.wrappingAdd(1, ordering: .relaxed)
                send(block)
            }
        }
    }

    func setTrack(_ track: MediaStreamTrack?) {
        let isChanged = state.withLock { state -> Bool in
            guard state.track !== track else { return false }
            state.track = track
            state.subscription = nil
            return true
        }
        if isChanged { subscribe() }
    }

    func setActive(_ isActive: Bool) {
        state.withLock { $0.isActive = isActive }
        subscribe()
    }

    private func subscribe() {
        let track = state.withLock { state -> MediaStreamTrack? in
            guard state.isActive, !state.isStopped, state.subscription == nil else { return nil }
            return state.track
        }
        guard let track else { return }
        do {
            let subscription = try track.addAudioTaker { [worker, meter] frame in
                meter.note(frame)
                worker.submit(frame)
            }
            state.withLock { $0.subscription = subscription }
            retry.didStart()
        } catch {
            retry.didFail(track, error) { [weak self] in self?.subscribe() }
        }
    }

    func setBitRate(_ bitsPerSecond: Int) {}
    func requestKeyFrame() {}

    /// Whether silence is left out, from the next block on.
    func setDTX(_ isOn: Bool) { counter.hasDTX.store(isOn, ordering: .relaxed) }

    func fill(_ entry: inout RTCStatsReport.OutboundRTP) {
        entry.framesEncoded = counter.count.load(ordering: .relaxed)
    }

    /// What the track gives; nil before there is one.
    var source: RTCStatsReport.AudioSource? {
        guard let track = state.withLock({ $0.track }) else { return nil }
        let reading = meter.reading
        var entry = RTCStatsReport.AudioSource()
        entry.mid = mid
        entry.trackIdentifier = track.id
        entry.audioLevel = reading.level
        entry.totalAudioEnergy = reading.energy
        entry.totalSamplesDuration = reading.duration
        entry.voiceActivityFlag = reading.hasVoice
        let echo = track.audioAdapter.echoReturn
        entry.echoReturnLoss = echo?.loss
        entry.echoReturnLossEnhancement = echo?.enhancement
        return entry
    }

    func stop() {
        let subscription = state.withLock { state in
            state.isStopped = true
            defer { state.subscription = nil }
            return state.subscription
        }
        subscription?.cancel()
        worker.stop()
    }
}

/// Blocks of 20 ms out of sound of any rate and length.
package final class AudioEncoding {
    private let codec: RTPCodec
    private var opus: OpusEncoder?
    private var resampler: Resampler?
    private var pending: [Int16] = []
    private var channelCount = 1
    private var timestamp: UInt32 = 0
    /// Whether the block before was not sent.
    private var wasSilent = true
    /// Whether the receiver knows of the pause that goes on.
    private var hasToldPause = false
    /// When the frame that comes next was captured, if none is missing.
    private var nextNanoseconds: Int64?

    /// What lies further apart than this did not come late: a time without sound.
    private static let shortestGap: Int64 = 250_000_000
    private static let longestGap: Int64 = 3_600_000_000_000

    package init(codec: RTPCodec) { self.codec = codec }

    /// The blocks that a frame completes; with `hasDTX` without those of silence.
    package func encode(_ frame: AudioFrame, hasDTX: Bool) -> [EncodedFrame] {
        let wanted = codec == .opus ? min(frame.channelCount, 2) : 1
        let frame = frame.withChannels(wanted)
        let rate = codec.clockRate
        if wanted != channelCount || resampler?.inputRate != frame.sampleRate {
            channelCount = wanted
            resampler = Resampler(inputRate: frame.sampleRate, outputRate: rate, channelCount: wanted)
            pending = []
            opus = nil
        }
        guard var converter = resampler else { return [] }
        skipGap(before: frame)
        pending += converter.process(frame.samples)
        resampler = converter
        let blockSamples = rate / 50
        var blocks: [EncodedFrame] = []
        var offset = 0
        while pending.count - offset >= blockSamples * channelCount {
            let block = Array(pending[offset..<(offset + blockSamples * channelCount)])
            offset += block.count
            func append(_ payload: [UInt8], isSilent: Bool) {
                blocks.append(
                    EncodedFrame(
                        payload: payload,
                        rtpTimestamp: timestamp,
                        captureTime: Instant(nanoseconds: frame.timestampNanoseconds),
                        audioLevel: level(block),
                        hasVoice: !isSilent && frame.hasVoice ?? false,
                        startsTalkspurt: !isSilent && wasSilent
                    )
                )
            }
            switch payload(block, hasDTX: hasDTX) {
            case .nothing: break
            case .silence(let payload):
                // The first one is sent, as libwebrtc does: it tells the receiver a pause from packets that were lost.
                if !hasToldPause { append(payload, isSilent: true) }
                (wasSilent, hasToldPause) = (true, true)
            case .sound(let payload):
                append(payload, isSilent: false)
                (wasSilent, hasToldPause) = (false, false)
            }
            timestamp &+= UInt32(blockSamples)
        }
        pending.removeFirst(offset)
        return blocks
    }

    /// Lets the stream's clock go on over a time without sound, as of a microphone that was away.
    ///
    /// Else what follows would seem to come later by that time, and be played beside another picture.
    private func skipGap(before frame: AudioFrame) {
        let sampleCount = frame.samples.count / max(1, frame.channelCount)
        let duration = Int64(sampleCount) * 1_000_000_000 / Int64(max(1, frame.sampleRate))
        defer { nextNanoseconds = frame.timestampNanoseconds.addingReportingOverflow(duration).partialValue }
        guard let nextNanoseconds else { return }
        let (gap, isOverflow) = frame.timestampNanoseconds.subtractingReportingOverflow(nextNanoseconds)
        guard !isOverflow, gap > Self.shortestGap, gap < Self.longestGap else { return }
        pending = []
        (wasSilent, hasToldPause) = (true, false)
        timestamp &+= UInt32(truncatingIfNeeded: gap / 1_000 * Int64(codec.clockRate) / 1_000_000)
    }

    private enum Payload {
        case sound([UInt8])
        /// DTX: the receiver knows by the gap in the timestamps, and by the first packet of it. RFC 7587 §3.1.3
        case silence([UInt8])
        case nothing
    }

    private func payload(_ block: [Int16], hasDTX: Bool) -> Payload {
        switch codec {
        case .opus:
            if opus == nil { opus = try? OpusEncoder(channelCount: channelCount) }
            guard let opus else { return .nothing }
            opus.discontinuousTransmission = hasDTX
            guard let packet = try? opus.encode(block) else { return .nothing }
            return opus.isLeftOut(packet) ? .silence(packet) : .sound(packet)
        case .pcmu: return .sound(G711.muLaw.encode(block))
        case .pcma: return .sound(G711.aLaw.encode(block))
        case .vp8, .h264: return .nothing
        }
    }

    /// Decibels below full scale, 0 to 127. RFC 6464 §3
    private func level(_ block: [Int16]) -> UInt8 {
        UInt8(min(127, max(0, -SoundLevel.decibels(block).rounded())))
    }
}
