import Dispatch
import Locking
import SansIO
import Testing
import TimeSharing

@testable import PeerConnection
@testable import RTP

/// Received pictures that come faster than they are decoded, as on a small board or after a moment's stop of the machine.
@Suite(.realTime) struct SlowDecoders {
    private final class Seen: Sendable {
        let times = Mutex<[Int64]>([])
        let requests = Mutex(0)
        let first = DispatchSemaphore(value: 0)
        let goOn = DispatchSemaphore(value: 0)
        let last = DispatchSemaphore(value: 0)
    }

    private func frames(_ count: Int, keys: Set<Int>) throws -> [ReceivedFrame] {
        let pattern = try TestPattern(width: 64, height: 48)
        let encoder = VP8Encoder()
        return try (0..<count).compactMap { index in
            if keys.contains(index) { encoder.requestKeyFrame() }
            let time = Int64(index) * 33_333_333
            guard let picture = try encoder.encode(pattern.frame(index, timestampNanoseconds: time)) else { return nil }
            #expect(picture.isKeyFrame == keys.contains(index))
            return ReceivedFrame(
                payload: picture.payload,
                rtpTimestamp: UInt32(index) * 3_000,
                payloadType: 96,
                codec: .vp8,
                isKeyFrame: picture.isKeyFrame,
                lostBefore: 0,
                ssrc: 1,
                receiveTime: Instant(nanoseconds: Int64(index)),
                firstPacketTime: Instant(nanoseconds: Int64(index))
            )
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `After what was dropped nothing is shown before a key frame, which is asked for`() throws {
        let receiver = RTCRtpReceiver(kind: .video)
        let seen = Seen()
        let pipeline = VideoReceivePipeline(receiver: receiver) { seen.requests.withLock { $0 += 1 } }
        let frames = try frames(120, keys: [0, 110])
        try #require(frames.count == 120)
        let subscription = try receiver.track.addVideoTaker { picture in
            let count = seen.times.withLock { times in
                times.append(picture.timestampNanoseconds)
                return times.count
            }
            // The first picture is held until many more have come.
            if count == 1 {
                seen.first.signal()
                seen.goOn.wait()
            }
            if picture.timestampNanoseconds == 119 { seen.last.signal() }
        }
        pipeline.receive(frames[0])
        seen.first.wait()
        for frame in frames[1...] { pipeline.receive(frame) }
        seen.goOn.signal()
        seen.last.wait()
        subscription.cancel()
        // 30 may wait: those from 90 on, of which the first 20 build on what is gone.
        #expect(seen.times.withLock { $0 } == [0] + Array(110..<120))
        #expect(seen.requests.withLock { $0 } > 0)
        pipeline.stop()
    }
}
