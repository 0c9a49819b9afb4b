import Locking
import PeerConnection
import Testing
import TimeSharing

/// A camera with an encoder: pictures, or the same pictures encoded, one or the other at a time.
private final class EncodingCamera: VideoSource, EncodedVideoSource {
    struct State {
        var isRunning = false
        var started: [String] = []
        var sent: [[UInt8]] = []
        var keyFrameRequests = 0
        var mustMakeKeyFrame = true
        var bitRates: [Int] = []
    }

    let label = "encoding camera"
    let codecs: [VideoCodec] = [.h264]
    let takesBitRate = true
    let state = Mutex(State())
    private let pattern: TestPattern

    init() throws { pattern = try TestPattern(width: 160, height: 96, framesPerSecond: 30) }

    func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
        begin("pictures")
        try pattern.start(deliver: deliver)
    }

    func startEncoded(_ codec: VideoCodec, deliver: @escaping @Sendable (EncodedVideoFrame) -> Void) throws {
        begin("\(codec)")
        // The pattern's thread is the encoder's clock.
        try pattern.start { [self] picture in
            let (payload, isKeyFrame) = next()
            deliver(
                EncodedVideoFrame(
                    codec: codec,
                    payload: payload,
                    isKeyFrame: isKeyFrame,
                    timestampNanoseconds: picture.timestampNanoseconds,
                    width: 160,
                    height: 96
                )
            )
        }
    }

    private func begin(_ mode: String) {
        state.withLock { state in
            #expect(!state.isRunning, "a camera is stopped before it is started anew")
            state.isRunning = true
            state.started.append(mode)
            state.mustMakeKeyFrame = true
        }
    }

    /// What looks like H.264 to packets: a key frame of several packets only when it is asked for.
    private func next() -> ([UInt8], Bool) {
        state.withLock { state in
            defer { state.mustMakeKeyFrame = false }
            let number = UInt8(state.sent.count % 200 + 1)
            let units: [[UInt8]] =
                state.mustMakeKeyFrame
                ? [[0x67, 0x42, 0xC0, 0x1F, 1], [0x68, 2], [0x65] + Array(repeating: number, count: 4_000)]
                : [[0x41, number, 7]]
            var payload: [UInt8] = []
            for unit in units { payload += [0, 0, 0, 1] + unit }
            state.sent.append(payload)
            return (payload, state.mustMakeKeyFrame)
        }
    }

    func requestKeyFrame() {
        state.withLock { state in
            state.keyFrameRequests += 1
            state.mustMakeKeyFrame = true
        }
    }

    func setBitRate(_ bitsPerSecond: Int) { state.withLock { $0.bitRates.append(bitsPerSecond) } }

    func stop() {
        state.withLock { $0.isRunning = false }
        pattern.stop()
    }
}

@Suite(.serialized, .realTime) struct EncodedTracks {
    private struct Call {
        let pair: ConnectedPair
        let sender: RTCRtpSender
        let receiver: RTCRtpReceiver
        /// All that the second connection receives, from the first frame on.
        let frames: AsyncStream<RTCEncodedFrame>
    }

    private func frames(of receiver: RTCRtpReceiver) -> AsyncStream<RTCEncodedFrame> {
        let (stream, continuation) = AsyncStream<RTCEncodedFrame>.makeStream()
        let subscription = receiver.addEncodedFrameTaker { continuation.yield($0) }
        continuation.onTermination = { _ in subscription.cancel() }
        return stream
    }

    /// A call from a camera to a receiver, which takes H.264 or not.
    private func call(
        _ track: MediaStreamTrack,
        takesH264: Bool
    ) async throws -> Call {
        let pair = try ConnectedPair()
        let sender = try pair.first.addTrack(track)
        try await pair.first.setLocalDescription()
        try await pair.second.setRemoteDescription(try #require(pair.first.localDescription))
        let transceiver = try #require(pair.second.transceivers.first)
        if takesH264 { transceiver.receivedEncodings = [.h264] }
        let frames = frames(of: transceiver.receiver)
        try await pair.second.setLocalDescription()
        try await pair.first.setRemoteDescription(try #require(pair.second.localDescription))
        return Call(pair: pair, sender: sender, receiver: transceiver.receiver, frames: frames)
    }

    @Test(.timeLimit(.minutes(5))) func theCamerasOwnEncodingArrivesAsItWas() async throws {
        let camera = try EncodingCamera()
        let track = MediaStreamTrack(camera as any VideoSource)
        #expect(track.encodings == [.h264] && track.preferredEncodings.isEmpty && track.encoderTakesBitRate)
        track.preferredEncodings = [.vp8, .h264]
        #expect(track.preferredEncodings == [.h264])
        let call = try await call(track, takesH264: true)
        var received: [RTCEncodedFrame] = []
        for await frame in call.frames {
            received.append(frame)
            if received.count == 10 { call.receiver.requestKeyFrame() }
            if received.count > 10, frame.isKeyFrame { break }
        }
        let sent = camera.state.withLock { $0.sent }
        #expect(received.first?.isKeyFrame == true)
        #expect(received.allSatisfy { $0.codecName == "H264" && sent.contains($0.payload) })
        #expect(received.count { $0.isKeyFrame } >= 2)
        #expect(camera.state.withLock { $0.started } == ["h264"])
        #expect(camera.state.withLock { $0.keyFrameRequests } >= 1)
        #expect(camera.state.withLock { !$0.bitRates.isEmpty })
        let outbound = try #require(await call.pair.first.getStats().outboundRTP.first)
        #expect(outbound.codec == "H264" && outbound.encoderImplementation == "encoding camera")
        #expect(outbound.framesEncoded >= 10 && outbound.frameWidth == 160 && outbound.pliCount >= 1)
    }

    @Test(.timeLimit(.minutes(5))) func aPeerThatDoesNotTakeItGetsVP8() async throws {
        let camera = try EncodingCamera()
        let track = MediaStreamTrack(camera as any VideoSource)
        track.preferredEncodings = [.h264]
        let call = try await call(track, takesH264: false)
        for await frame in call.receiver.track.videoFrames {
            #expect((frame.width, frame.height) == (160, 96))
            break
        }
        #expect(camera.state.withLock { $0.started } == ["pictures"])
        #expect(await call.pair.first.getStats().outboundRTP.first?.codec == "VP8")
    }

    @Test(.timeLimit(.minutes(5))) func whoNeedsThePicturesEndsTheCamerasEncoding() async throws {
        let camera = try EncodingCamera()
        let track = MediaStreamTrack(camera as any VideoSource)
        track.preferredEncodings = [.h264]
        let call = try await call(track, takesH264: true)
        var names: [String] = []
        var preview: MediaSubscription?
        for await frame in call.frames {
            if names.last != frame.codecName { names.append(frame.codecName) }
            if preview == nil { preview = try track.addVideoTaker { _ in } }
            if frame.codecName == "VP8" {
                #expect(frame.isKeyFrame)
                break
            }
        }
        #expect(names == ["H264", "VP8"])
        #expect(camera.state.withLock { $0.started } == ["h264", "pictures"])
        preview?.cancel()
    }

    @Test(.timeLimit(.minutes(5))) func anotherTrackChangesTheCodecWithoutANegotiation() async throws {
        let camera = try EncodingCamera()
        let track = MediaStreamTrack(camera as any VideoSource)
        track.preferredEncodings = [.h264]
        let call = try await call(track, takesH264: true)
        let plain = MediaStreamTrack(try TestPattern(width: 160, height: 96, framesPerSecond: 30))
        var names: [String] = []
        for await frame in call.frames where names.last != frame.codecName {
            #expect(frame.isKeyFrame)
            names.append(frame.codecName)
            if names.count == 1 { try await call.sender.replaceTrack(plain) }
            if names.count == 2 { try await call.sender.replaceTrack(track) }
            if names.count == 3 { break }
        }
        #expect(names == ["H264", "VP8", "H264"])
    }

    @Test(.timeLimit(.minutes(5))) func whileDisabledNothingIsSentAndThenAKeyFrame() async throws {
        let camera = try EncodingCamera()
        let track = MediaStreamTrack(camera as any VideoSource)
        track.preferredEncodings = [.h264]
        let call = try await call(track, takesH264: true)
        var count = 0
        var disabledAt = 0
        for await frame in call.frames {
            count += 1
            if count == 5 {
                track.enabled = false
                disabledAt = camera.state.withLock { $0.sent.count }
                // What the camera makes meanwhile stays here.
                while camera.state.withLock({ $0.sent.count }) < disabledAt + 10 { await Task.yield() }
                track.enabled = true
            }
            guard disabledAt > 0, let index = camera.state.withLock({ $0.sent.lastIndex(of: frame.payload) }),
                index > disabledAt + 1
            else { continue }
            #expect(frame.isKeyFrame && index >= disabledAt + 10)
            break
        }
    }

    @Test func withoutSuchATrackNoH264IsOffered() async throws {
        let connection = try RTCPeerConnection()
        defer { connection.close() }
        try connection.addTrack(MediaStreamTrack(try EncodingCamera() as any VideoSource))
        #expect(try await !connection.createOffer().sdp.contains("H264"))
        let transceiver = try connection.addTransceiver(.video, options: .init(receivedEncodings: [.h264]))
        #expect(transceiver.receivedEncodings == [.h264])
        let sdp = try await connection.createOffer().sdp
        #expect(sdp.contains("H264/90000") && sdp.contains("packetization-mode=1"))
    }
}
