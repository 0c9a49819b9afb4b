import Dispatch
import Glibc
import Locking
import Media
import Testing

@testable import Capture

/// The test pattern, the tone, the schedule they keep, and threads with jobs.
@Suite struct SyntheticSources {
    @Test(arguments: [(640, 360), (320, 240), (64, 48), (1280, 720), (641, 361), (65, 49)])
    func `The pattern's counter and colours can be read`(width: Int, height: Int) throws {
        let pattern = try TestPattern(width: width, height: height)
        for index in [0, 1, 2, 255, 256, 12_345, 65_535, 65_536] {
            let frame = try pattern.frame(index, timestampNanoseconds: 1)
            #expect(frame.width == width && frame.height == height)
            #expect(TestPattern.readCounter(frame) == index & 0xFFFF)
            for (read, bar) in zip(TestPattern.readBars(frame), TestPattern.bars) { #expect(read == bar) }
            // To the last pixel, whose colours are its own where a side is odd.
            #expect(frame.sample(x: width - 1, y: height * 3 / 8) == TestPattern.bars[3])
            let corner = frame.sample(x: width - 1, y: height - 1)
            #expect(corner.u == 128 && corner.v == 128)
        }
    }

    @Test(arguments: [(32, 383), (32, 384), (32, 4_096), (33, 4_096), (341, 4_096), (4_096, 32), (32, 32)])
    func `The pattern has room for its ball in the narrowest sizes that can be asked for`(
        width: Int,
        height: Int
    ) throws {
        let pattern = try TestPattern(width: width, height: height)
        for index in [0, 1, 7, 22, 44, 45, 46, 89, 90, 91, 12_345] {
            let frame = try pattern.frame(index, timestampNanoseconds: 1, clock: "12:34:56.789")
            #expect(TestPattern.readCounter(frame) == index)
        }
    }

    @Test func `The pattern moves`() throws {
        let pattern = try TestPattern()
        #expect(
            psnr(try pattern.frame(8, timestampNanoseconds: 0), try pattern.frame(16, timestampNanoseconds: 0)) < 40
        )
    }

    @Test(arguments: [(0, 0, 30), (31, 32, 30), (32, 31, 30), (640, 4_098, 30), (640, 360, 0), (640, 360, 121)])
    func `Sizes and rates out of range are refused`(width: Int, height: Int, rate: Int) {
        #expect(throws: MediaError.self) { try TestPattern(width: width, height: height, framesPerSecond: rate) }
    }

    @Test func `The pattern delivers pictures in order until it is stopped`() async throws {
        let pattern = try TestPattern(width: 64, height: 48, framesPerSecond: 120)
        let gathering = Gathering<VideoFrame>(6)
        try pattern.start { gathering.add($0) }
        let frames = await gathering.result()
        pattern.stop()
        #expect(frames.prefix(6).map(TestPattern.readCounter) == [0, 1, 2, 3, 4, 5])
        #expect(zip(frames, frames.dropFirst()).allSatisfy { $0.timestampNanoseconds < $1.timestampNanoseconds })
    }

    @Test func `A tone has its frequency, without a seam between blocks`() {
        let tone = Tone(frequency: 660, amplitude: 10_000)
        let samples = (0..<50).flatMap { tone.block($0, timestampNanoseconds: 0).samples }
        #expect(Tone.dominantFrequency(Array(samples[..<9_600]), sampleRate: 48_000) == 660)
        #expect(signalToNoise(samples, frequency: 660, sampleRate: 48_000) > 60)
        #expect(Tone(frequency: 1e9, amplitude: 1e9).amplitude == 32_767)
    }

    @Test func `Ticks are due at equal distances, whatever the lateness`() {
        var schedule = Schedule(startNanoseconds: 1_000, intervalNanoseconds: 100)
        var now: Int64 = 1_000
        var due: [Int64] = []
        for lateness in [0, 30, 90, 0, 250, 0, 0] as [Int64] {
            #expect(schedule.index == due.count)
            let next = schedule.next(nowNanoseconds: now)
            due.append(next)
            now = max(now, next) + lateness
        }
        #expect(due == [1_000, 1_100, 1_200, 1_300, 1_400, 1_500, 1_600])
    }

    @Test func `After a long sleep the schedule begins anew instead of bunching`() {
        var schedule = Schedule(startNanoseconds: 0, intervalNanoseconds: 20_000_000)
        #expect(schedule.next(nowNanoseconds: 0) == 0)
        // Late, but not too late: made up for.
        #expect(schedule.next(nowNanoseconds: 500_000_000) == 20_000_000)
        // The machine slept for a minute.
        #expect(schedule.next(nowNanoseconds: 60_000_000_000) == 60_000_000_000)
        #expect(schedule.next(nowNanoseconds: 60_000_000_001) == 60_020_000_000)
        #expect(schedule.index == 4)
    }

    /// Tells when nobody holds it any more.
    private final class Canary: Sendable {
        private let end: @Sendable () -> Void
        init(end: @escaping @Sendable () -> Void) { self.end = end }
        deinit { end() }
    }

    @Test func `A thread that waits for long ends when it is stopped`() async throws {
        let (begun, ended) = (Gathering<Void>(2), Gathering<Void>(2))
        let timed = try { [canary = Canary { ended.add(()) }] in
            try TimedThread(name: "test", subject: "test") {
                withExtendedLifetime(canary) { begun.add(()) }
                return 3_000_000_000_000
            } act: { _ in
            }
        }()
        let scheduled = try { [canary = Canary { ended.add(()) }] in
            try ScheduledThread(name: "test", subject: "test", intervalNanoseconds: 3_000_000_000_000) { _, _ in
                withExtendedLifetime(canary) { begun.add(()) }
                return true
            }
        }()
        #expect(await begun.result().count == 2)
        timed.stop()
        scheduled.stop()
        #expect(await ended.result().count == 2)
    }

    @Test func `A thread that is stopped has ended what it was delivering`() throws {
        let ended = Mutex(0)
        @Sendable func turn(_ begun: DispatchSemaphore) {
            begun.signal()
            for _ in 0..<20_000 { sched_yield() }
            ended.withLock { $0 += 1 }
        }
        let first = DispatchSemaphore(value: 0)
        let timed = try TimedThread(name: "test", subject: "test") {
            0
        } act: { _ in
            turn(first)
        }
        first.wait()
        timed.stop()
        let count = ended.withLock { $0 }
        #expect(count >= 1)
        let second = DispatchSemaphore(value: 0)
        let scheduled = try ScheduledThread(name: "test", subject: "test", intervalNanoseconds: 1_000_000) { _, _ in
            turn(second)
            return true
        }
        second.wait()
        scheduled.stop()
        #expect(ended.withLock { $0 } > count)
    }

    /// In a process of its own, where for a moment no thread can be had.
    @Test func `A source that gets no thread says so`() async {
        await #expect(processExitsWith: .success) {
            let folder = try TemporaryFolder()
            let sound = try WAVWriter(path: folder.path + "/a.wav")
            sound.take(Tone().block(0, timestampNanoseconds: 0))
            sound.close()
            let (tone, file) = (Tone(), try AudioFile(path: sound.path))
            let pattern = try TestPattern(width: 64, height: 48)
            let usual = UnsafeMutablePointer<pthread_attr_t>.allocate(capacity: 2)
            let endless = usual + 1
            // Glibc's, of which Swift does not know.
            typealias Function = @convention(c) (UnsafeMutablePointer<pthread_attr_t>) -> Int32
            let getDefault = try #require(dlsym(nil, "pthread_getattr_default_np"))
            let setDefault = try #require(dlsym(nil, "pthread_setattr_default_np"))
            try #require(unsafeBitCast(getDefault, to: Function.self)(usual) == 0)
            pthread_attr_init(endless)
            // More than there are addresses.
            pthread_attr_setstacksize(endless, 1 << 50)
            try #require(unsafeBitCast(setDefault, to: Function.self)(endless) == 0)
            let results = [
                Result { try tone.start { _ in } }, Result { try file.start { _ in } },
                Result { try pattern.start { _ in } },
            ]
            try #require(unsafeBitCast(setDefault, to: Function.self)(usual) == 0)
            for (result, subject) in zip(results, ["tone", sound.path, "test pattern"]) {
                let error = #expect(throws: MediaError.self) { try result.get() }
                #expect(error?.kind == .notUsable && error?.subject == subject)
            }
            // And it can be started again.
            let blocks = Gathering<AudioFrame>(1)
            try tone.start { blocks.add($0) }
            #expect(await blocks.result().count == 1)
            tone.stop()
        }
    }

    @Test func `A taker may stop the source that delivers to it, and gets nothing more`() async throws {
        let pattern = try TestPattern(width: 64, height: 48, framesPerSecond: 120)
        let (gathering, after) = (Gathering<Void>(1), Gathering<Void>(1))
        try pattern.start { [weak pattern] _ in
            pattern?.stop()
            gathering.add(())
        }
        #expect(await gathering.result().count == 1)
        let tone = Tone()
        try tone.start { _ in after.add(()) }
        _ = await after.result()
        tone.stop()
        #expect(gathering.count == 1)
    }

    @Test func `A worker does jobs in order and drops the oldest when it is behind`() async {
        let (begun, gate, done) = (Gathering<Void>(1), DispatchSemaphore(value: 0), Gathering<Int>(4))
        let worker = WorkerThread<Int>(name: "test", limit: 3) { job in
            if job == 0 {
                begun.add(())
                gate.wait()
            }
            done.add(job)
        }
        worker.submit(0)
        _ = await begun.result()
        let dropped = (1...10).filter { worker.submit($0) }
        gate.signal()
        #expect(await done.result() == [0, 8, 9, 10])
        #expect(dropped == [4, 5, 6, 7, 8, 9, 10])
        worker.stop()
    }

    @Test func `Memory of pictures is used again, and rows are aligned`() throws {
        let pool = VideoFramePool()
        func address(_ width: Int) throws -> UInt {
            let frame = try VideoFrame(width: width, height: 9, timestampNanoseconds: 0, pool: pool) {
                _ throws(MediaError) in
            }
            #expect(frame.strideY % 32 == 0 && frame.strideY >= width)
            #expect(frame.chromaWidth == (width + 1) / 2 && frame.chromaHeight == 5)
            return frame.withPlanes { UInt(bitPattern: $0.y) }
        }
        #expect(try address(33) == address(33))
        _ = try address(100)
        #expect(throws: MediaError.self) { try address(0) }
        #expect(throws: MediaError.self) { try address(16_385) }
    }

    @Test func `A picture with another time shares the memory of the first`() throws {
        let frame = try picture(4, 2) { x, _ in (UInt8(x), 1, 2) }
        let copy = frame.retimed(7).retimed(9)
        #expect(copy.timestampNanoseconds == 9)
        #expect(frame.withPlanes { $0.y } == copy.withPlanes { $0.y })
        #expect(copy.sample(x: 99, y: -1) == (3, 1, 2))
    }
}
