import Testing

@testable import PeerConnection

/// Where the frames of a recording are placed in time.
@Suite struct RecordingTimes {
    private static let millisecond: Int64 = 1_000_000

    /// A peer's track as it comes: timestamps of its own beginning, and a clock that reports name.
    private struct Sender {
        var ssrc: UInt32
        var rate: Int
        var firstTimestamp: UInt32
        /// Between capture and arrival.
        var delay: Int64
        var hasReport = true

        /// The stamp of a frame captured at `time`.
        func stamp(_ time: Int64) -> RecordingClock.Stamp {
            let ticks = UInt32(truncatingIfNeeded: time / 1_000 * Int64(rate) / 1_000_000)
            // Any moment will do: here three quarters of a second after the one of sound.
            let quarters = UInt64(rate == 48_000 ? 4 : 7)
            let clock = RTCEncodedFrame.SenderClock(
                ntpTimestamp: (4_000_000_000 << 32) + (quarters << 30),
                rtpTimestamp: firstTimestamp &+ UInt32(rate) / 4 * UInt32(quarters)
            )
            return RecordingClock.Stamp(
                ssrc: ssrc,
                rtpTimestamp: firstTimestamp &+ ticks,
                clockRate: rate,
                arrival: 500_000 * RecordingTimes.millisecond + time + delay,
                senderClock: hasReport ? clock : nil
            )
        }
    }

    /// Feeds ten seconds of both and gives each frame's time of capture and of recording.
    private static func record(
        _ sound: Sender,
        _ pictures: Sender,
        reportsFrom: Int64 = 0,
        edit: (inout RecordingClock.Stamp, Int, Int64) -> Void = { _, _, _ in }
    ) -> [(track: Int, captured: Int64, placed: Int64)] {
        var interleaver = FrameInterleaver()
        interleaver.addTrack(0, isSound: true)
        interleaver.addTrack(1, isSound: false)
        var events: [(arrival: Int64, track: Int, captured: Int64)] = []
        for index in 0..<500 {
            events.append((Int64(index) * 20 * millisecond + sound.delay, 0, Int64(index) * 20 * millisecond))
        }
        for index in 0..<250 {
            events.append((Int64(index) * 40 * millisecond + pictures.delay, 1, Int64(index) * 40 * millisecond))
        }
        events.sort { ($0.arrival, $0.track) < ($1.arrival, $1.track) }
        var captured: [Int: [Int64]] = [0: [], 1: []]
        var result: [(track: Int, captured: Int64, placed: Int64)] = []
        func take(_ now: Int64?) {
            while let frame = interleaver.next(at: now) {
                let time = captured[frame.track]?.removeFirst() ?? -1
                result.append((frame.track, time, frame.nanoseconds))
            }
        }
        for event in events {
            var stamp = (event.track == 0 ? sound : pictures).stamp(event.captured)
            if event.captured < reportsFrom { stamp.senderClock = nil }
            edit(&stamp, event.track, event.captured)
            captured[event.track]?.append(event.captured)
            interleaver.add([0], isKeyFrame: true, stamp: stamp, track: event.track)
            take(stamp.arrival)
        }
        take(nil)
        return result
    }

    private static let sound = Sender(ssrc: 1, rate: 48_000, firstTimestamp: 0xFFFF_F000, delay: 30 * millisecond)
    private static let pictures = Sender(ssrc: 2, rate: 90_000, firstTimestamp: 77, delay: 250 * millisecond)

    /// The differences between where pictures are and where sound of the same capture is.
    private static func offsets(_ frames: [(track: Int, captured: Int64, placed: Int64)]) -> [Int64] {
        let sound = frames.first { $0.track == 0 }.map { $0.placed - $0.captured } ?? 0
        return frames.filter { $0.track == 1 }.map { ($0.placed - $0.captured - sound) / 1_000_000 }
    }

    @Test func `Sound and pictures that take different times are in step from the first frame on`() {
        let frames = Self.record(Self.sound, Self.pictures)
        #expect(frames.count == 750)
        #expect(Self.offsets(frames).allSatisfy { abs($0) <= 1 }, "\(Self.offsets(frames).prefix(5))")
        #expect(zip(frames, frames.dropFirst()).allSatisfy { $0.placed <= $1.placed })
    }

    @Test func `Reports that come late correct the pictures, and never backwards`() {
        let frames = Self.record(Self.sound, Self.pictures, reportsFrom: 5_000 * Self.millisecond)
        let offsets = Self.offsets(frames)
        #expect((200...240).contains(offsets[0]), "by arrival at first: \(offsets[0])")
        #expect(offsets.suffix(50).allSatisfy { abs($0) <= 1 })
        let pictures = frames.filter { $0.track == 1 }
        #expect(zip(pictures, pictures.dropFirst()).allSatisfy { $0.placed < $1.placed })
        let sound = frames.filter { $0.track == 0 }
        let steps = Set(zip(sound, sound.dropFirst()).map { $1.placed - $0.placed })
        #expect(steps == [20 * Self.millisecond])
        #expect(frames.count == 750)
    }

    @Test func `Without any report arrival decides, and no frame waits for ever`() {
        var (sound, pictures) = (Self.sound, Self.pictures)
        sound.hasReport = false
        pictures.hasReport = false
        let frames = Self.record(sound, pictures)
        #expect(frames.count == 750)
        #expect(Self.offsets(frames).allSatisfy { abs($0 - 220) <= 1 })
    }

    @Test func `A loss leaves a gap and no drift`() {
        var interleaver = FrameInterleaver()
        interleaver.addTrack(0, isSound: true)
        var times: [Int64] = []
        for index in 0..<100 where !(30..<50).contains(index) {
            let stamp = Self.sound.stamp(Int64(index) * 20 * Self.millisecond)
            interleaver.add([0], isKeyFrame: true, stamp: stamp, track: 0)
            while let frame = interleaver.next(at: stamp.arrival) { times.append(frame.nanoseconds / Self.millisecond) }
        }
        while let frame = interleaver.next(at: nil) { times.append(frame.nanoseconds / Self.millisecond) }
        #expect(times == (0..<100).filter { !(30..<50).contains($0) }.map { Int64($0) * 20 })
    }

    @Test func `A sender that begins anew, with other timestamps, goes on where it arrives`() {
        let frames = Self.record(Self.sound, Self.pictures) { stamp, track, captured in
            guard track == 1, captured >= 5_000 * Self.millisecond else { return }
            stamp.ssrc = 99
            stamp.rtpTimestamp = stamp.rtpTimestamp &+ 0x7654_3210
            stamp.senderClock =
                captured < 6_000 * Self.millisecond
                ? nil
                : stamp.senderClock.map {
                    .init(ntpTimestamp: $0.ntpTimestamp, rtpTimestamp: $0.rtpTimestamp &+ 0x7654_3210)
                }
        }
        #expect(frames.count == 750)
        let offsets = Self.offsets(frames)
        #expect(offsets.allSatisfy { abs($0) <= 45 }, "\(offsets.max() ?? 0)")
        #expect(offsets.suffix(50).allSatisfy { abs($0) <= 1 })
    }

    @Test func `Reports of another world are not followed`() {
        let frames = Self.record(Self.sound, Self.pictures) { stamp, track, _ in
            if track == 1 { stamp.senderClock = .init(ntpTimestamp: 17 << 32, rtpTimestamp: 3) }
        }
        #expect(frames.count == 750)
        #expect(Self.offsets(frames).allSatisfy { abs($0 - 220) <= 1 })
        #expect(frames.allSatisfy { (0...11_000 * Self.millisecond).contains($0.placed) })
    }

    @Test func `Timestamps of every kind are survived`() {
        var interleaver = FrameInterleaver()
        interleaver.addTrack(0, isSound: true)
        interleaver.addTrack(1, isSound: false)
        var last: [Int64] = [-1, -1]
        for index in 0..<5_000 {
            let track = index & 1
            let stamp = RecordingClock.Stamp(
                ssrc: .random(in: 0...1),
                rtpTimestamp: .random(in: 0 ... .max),
                clockRate: track == 0 ? 48_000 : 90_000,
                arrival: Int64(index) * 10 * Self.millisecond,
                senderClock: .init(ntpTimestamp: .random(in: 0 ... .max), rtpTimestamp: .random(in: 0 ... .max))
            )
            interleaver.add([0], isKeyFrame: true, stamp: stamp, track: track)
            while let frame = interleaver.next(at: stamp.arrival) {
                #expect(frame.nanoseconds > last[frame.track])
                last[frame.track] = frame.nanoseconds
            }
        }
    }

    @Test func `One report that was made late moves nothing`() {
        let frames = Self.record(Self.sound, Self.pictures) { stamp, track, captured in
            guard let clock = stamp.senderClock else { return }
            // A report each second; that of the fifth is 200 ms off.
            let second = UInt32(captured / 1_000 / Self.millisecond)
            let rate = track == 0 ? UInt32(48_000) : 90_000
            let late: UInt64 = track == 0 && second == 5 ? (1 << 32) / 5 : 0
            stamp.senderClock = .init(
                ntpTimestamp: clock.ntpTimestamp + (UInt64(second) << 32) + late,
                rtpTimestamp: clock.rtpTimestamp &+ second * rate
            )
        }
        #expect(frames.count == 750)
        #expect(Self.offsets(frames).allSatisfy { abs($0) <= 1 }, "\(Self.offsets(frames).max() ?? 0)")
    }

    /// What comes in `window` (by the clock of capture) comes at its end, all at once.
    private static func stall(_ window: Range<Int64>, _ stamp: inout RecordingClock.Stamp) {
        let epoch = 500_000 * millisecond
        guard window.contains(stamp.arrival - epoch) else { return }
        stamp.arrival = epoch + window.upperBound
    }

    @Test(arguments: [0, 2_000, 5_000], [false, true])
    func `What a stall held up for seconds keeps its place`(begin: Int64, hasReports: Bool) {
        let begin = begin + 20
        let frames = Self.record(Self.sound, Self.pictures) { stamp, _, _ in
            Self.stall(begin * Self.millisecond..<(begin + 6_500) * Self.millisecond, &stamp)
            if !hasReports { stamp.senderClock = nil }
        }
        #expect(frames.count == 750)
        let offsets = Self.offsets(frames)
        // Without reports both go by their first arrival, here 220 ms apart unless one stall held both up.
        let limit: Int64 = hasReports ? 1 : 221
        #expect(offsets.allSatisfy { abs($0) <= limit }, "\(offsets.min() ?? 0) ... \(offsets.max() ?? 0)")
        let sound = frames.filter { $0.track == 0 }
        let steps = Set(zip(sound, sound.dropFirst()).map { $1.placed - $0.placed })
        #expect(steps == [20 * Self.millisecond])
    }

    @Test func `A stall before the first sound puts off neither it nor the pictures`() {
        var pictures = Self.pictures
        pictures.delay = 10 * Self.millisecond
        let frames = Self.record(Self.sound, pictures, reportsFrom: 500 * Self.millisecond) { stamp, track, captured in
            // All but the first picture.
            guard track == 0 || captured > 0 else { return }
            Self.stall(0..<8_000 * Self.millisecond, &stamp)
        }
        #expect(frames.count == 750)
        #expect(Self.offsets(frames).allSatisfy { abs($0) <= 1 })
        #expect(frames.allSatisfy { $0.placed == $0.captured })
    }

    @Test func `One track that a stall holds up alone is in step again once reports have told`() {
        // The first picture is there at once; sound, and with it the reports, comes seven seconds late.
        let frames = Self.record(Self.sound, Self.pictures, reportsFrom: 1_000 * Self.millisecond) { stamp, track, _ in
            guard track == 0 else { return }
            Self.stall(0..<7_000 * Self.millisecond, &stamp)
        }
        #expect(frames.count == 750)
        let offsets = Self.offsets(frames)
        #expect(offsets.suffix(50).allSatisfy { abs($0) <= 1 }, "\(offsets.suffix(50).max() ?? 0)")
        for track in 0...1 {
            let times = frames.filter { $0.track == track }.map(\.placed)
            #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 >= Self.millisecond })
        }
    }

    @Test func `A sender that pauses without its timestamps leaves a gap`() {
        var (sound, pictures) = (Self.sound, Self.pictures)
        sound.hasReport = false
        pictures.hasReport = false
        let frames = Self.record(sound, pictures) { stamp, _, captured in
            if captured >= 4_000 * Self.millisecond { stamp.arrival += 20_000 * Self.millisecond }
        }
        #expect(frames.count == 750)
        // It is known for a pause, and no stall, after two seconds.
        for frame in frames where frame.captured < 3_900 * Self.millisecond {
            #expect(frame.placed - frame.captured <= 250 * Self.millisecond)
        }
        for frame in frames where frame.captured > 6_500 * Self.millisecond {
            #expect(abs(frame.placed - frame.captured - 20_000 * Self.millisecond) <= 300 * Self.millisecond)
        }
    }
}
