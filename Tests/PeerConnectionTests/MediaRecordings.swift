import Foundation
import Glibc
import Locking
import PeerConnection
import Testing
import TimeSharing

/// Recordings of real connections, read back by ffmpeg.
@Suite(.serialized, .realTime) struct MediaRecordings {
    /// A folder that is removed with its owner.
    private final class Folder: Sendable {
        let path: String

        init() throws {
            path = NSTemporaryDirectory() + "/recordings-" + UUID().uuidString
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    /// A small file system in memory, if this process may mount one.
    private final class SmallFileSystem: Sendable {
        let path: String

        init?(bytes: Int) {
            path = NSTemporaryDirectory() + "/small-" + UUID().uuidString
            guard mkdir(path, 0o700) == 0 else { return nil }
            guard mount("none", path, "tmpfs", 0, "size=\(bytes)") == 0 else {
                rmdir(path)
                return nil
            }
        }

        deinit {
            umount2(path, Int32(MNT_DETACH))
            rmdir(path)
        }

        static let isPossible = SmallFileSystem(bytes: 1 << 20) != nil
    }

    /// When the first frame from which a track can be decoded was sent, by the sender's own clock.
    private final class Beginning: Sendable {
        private struct State {
            var first: RTCEncodedFrame?
            var report: RTCEncodedFrame.SenderClock?
        }

        private let state = Mutex(State())

        func note(_ frame: RTCEncodedFrame) {
            state.withLock { state in
                if state.first == nil, frame.isKeyFrame { state.first = frame }
                state.report = frame.senderClock ?? state.report
            }
        }

        /// In seconds; nil before a report has come.
        var firstSent: Double? {
            state.withLock { state in
                guard let first = state.first, let report = state.report else { return nil }
                let ticks = Int32(bitPattern: first.rtpTimestamp &- report.rtpTimestamp)
                return Double(report.ntpTimestamp) / 4_294_967_296 + Double(ticks) / Double(first.clockRate)
            }
        }
    }

    private static func run(_ name: String, _ arguments: String...) throws -> (output: String, errors: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [name] + arguments
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let problems = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (text, problems)
    }

    /// Decodes all; the times stay as they are, not pressed into a rate that ffmpeg guesses.
    private static func decode(_ path: String) throws -> (output: String, errors: String) {
        try run(
            "ffmpeg",
            "-v",
            "error",
            "-nostdin",
            "-i",
            path,
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "-1",
            "-f",
            "null",
            "-"
        )
    }

    /// A connected pair whose first side sends pattern and tone.
    private static func sendingPair() async throws -> ConnectedPair {
        let pair = try ConnectedPair()
        try pair.first.addTrack(MediaStreamTrack(try TestPattern(width: 320, height: 180, framesPerSecond: 15)))
        try pair.first.addTrack(MediaStreamTrack(Tone(frequency: 440)))
        try await pair.negotiate()
        return pair
    }

    private static func waitForFrames(_ count: Int, of connection: RTCPeerConnection) async throws {
        let video = try #require(connection.transceivers.first { $0.kind == .video })
        var seen = 0
        for await _ in video.receiver.track.videoFrames {
            seen += 1
            if seen == count { break }
        }
    }

    @Test(.timeLimit(.minutes(10))) func `What was received is stored as it came, and decodes without an error`()
        async throws
    {
        let folder = try Folder()
        let pair = try await Self.sendingPair()
        // In the middle of a stream: pictures wait for a key frame, which is asked for.
        try await Self.waitForFrames(5, of: pair.second)
        let recorder = try MediaRecorder(path: folder.path + "/a.webm", title: "Otter")
        for transceiver in pair.second.transceivers { try recorder.record(transceiver.receiver) }
        let (pictures, sound) = (Beginning(), Beginning())
        let witnesses = pair.second.transceivers.map { transceiver in
            let beginning = transceiver.kind == .video ? pictures : sound
            return transceiver.receiver.addEncodedFrameTaker { beginning.note($0) }
        }
        #expect(recorder.state == .recording)
        try await Self.waitForFrames(75, of: pair.second)
        let summary = await recorder.stop()
        for witness in witnesses { witness.cancel() }
        #expect(recorder.state == .inactive)
        #expect(summary.error == nil && summary.droppedFrameCount == 0)
        #expect(summary.videoFrameCount > 30 && summary.audioFrameCount > 100)
        #expect(summary.byteCount == (try FileManager.default.attributesOfItem(atPath: summary.path)[.size] as? Int))
        let decoded = try Self.decode(summary.path)
        #expect(decoded.errors.isEmpty, "\(decoded.errors)")
        let counts = try Self.run(
            "ffprobe",
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=codec_name,nb_read_frames",
            "-of",
            "csv=p=0",
            summary.path
        )
        let lines = Set(counts.output.split(separator: "\n").map(String.init))
        #expect(lines == ["vp8,\(summary.videoFrameCount)", "opus,\(summary.audioFrameCount)"])
        // They are as far apart as the sender made them, whenever the key frame came.
        let starts = try Self.run(
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "stream=codec_type,start_time",
            "-of",
            "csv=p=0",
            summary.path
        )
        let stored = Dictionary(
            starts.output.split(separator: "\n").map { line in
                (String(line.prefix { $0 != "," }), Double(line.drop { $0 != "," }.dropFirst()) ?? .nan)
            },
            uniquingKeysWith: { first, _ in first }
        )
        let apart = try #require(stored["video"]) - #require(stored["audio"])
        let sent = try #require(pictures.firstSent) - #require(sound.firstSent)
        #expect(abs(apart - sent) < 0.5, "\(starts.output): \(apart) s apart, sent \(sent) s apart")
        let again = await recorder.stop()
        #expect(again.byteCount == summary.byteCount)
        #expect(throws: MediaError.self) { try recorder.record(pair.second.transceivers[0].receiver) }
    }

    @Test func `Recordings replace nothing, and name a folder that is not there`() throws {
        let folder = try Folder()
        let path = folder.path + "/a.webm"
        try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: MediaError.self) { _ = try MediaRecorder(path: path) }
        #expect(error?.message.contains("exists already") == true)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "mine")
        let missing = #expect(throws: MediaError.self) { _ = try MediaRecorder(path: folder.path + "/no/a.webm") }
        #expect(missing?.kind == .notFound)
    }

    @Test func `A recording that nothing came for leaves no file`() async throws {
        let folder = try Folder()
        let recorder = try MediaRecorder(path: folder.path + "/a.webm")
        let summary = await recorder.stop()
        #expect(summary.byteCount == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }

    @Test(.timeLimit(.minutes(10)), .enabled(if: SmallFileSystem.isPossible, "mounting needs root"))
    func `A full disk ends the recording with a typed error, keeps what is whole, and the call goes on`() async throws {
        let small = try #require(SmallFileSystem(bytes: 128 << 10))
        let pair = try await Self.sendingPair()
        let failures = Mutex<[MediaError]>([])
        let recorder = try MediaRecorder(path: small.path + "/a.webm") { error in failures.withLock { $0.append(error) }
        }
        for transceiver in pair.second.transceivers { try recorder.record(transceiver.receiver) }
        while recorder.state == .recording { try await Self.waitForFrames(1, of: pair.second) }
        // Others still get pictures.
        try await Self.waitForFrames(10, of: pair.second)
        #expect(pair.second.connectionState == .connected)
        let summary = await recorder.stop()
        #expect(summary.error?.kind == .noSpace)
        #expect(failures.withLock { $0.map(\.kind) } == [.noSpace])
        #expect(summary.videoFrameCount > 0)
        let decoded = try Self.decode(summary.path)
        #expect(decoded.errors.isEmpty, "\(decoded.errors)")
        // Sizes and duration need no room.
        let told = try Self.run(
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "format=duration",
            "-of",
            "csv=p=0",
            summary.path
        )
        let duration = Double(told.output.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
        #expect(abs(duration - summary.duration / .seconds(1)) < 0.2, "\(told)")
    }

    @Test(.timeLimit(.minutes(10))) func `A codec that WebM does not hold is left out, and the rest recorded`()
        async throws
    {
        let folder = try Folder()
        let pair = try ConnectedPair()
        try pair.first.addTrack(MediaStreamTrack(try TestPattern(width: 320, height: 180, framesPerSecond: 15)))
        try pair.first.addTrack(MediaStreamTrack(Tone(frequency: 440)))
        try await pair.first.setLocalDescription()
        var offer = try #require(pair.first.localDescription)
        // Without Opus the two agree on G.711.
        offer.sdp = offer.sdp.replacing("opus/48000/2", with: "elsewhere/48000/2")
        try await pair.second.setRemoteDescription(offer)
        try await pair.second.setLocalDescription()
        try await pair.first.setRemoteDescription(try #require(pair.second.localDescription))
        let failures = Mutex<[MediaError]>([])
        let recorder = try MediaRecorder(path: folder.path + "/a.webm") { error in
            failures.withLock { $0.append(error) }
        }
        for transceiver in pair.second.transceivers { try recorder.record(transceiver.receiver) }
        try await Self.waitForFrames(30, of: pair.second)
        let summary = await recorder.stop()
        #expect(summary.videoFrameCount > 10 && summary.audioFrameCount == 0 && summary.error == nil)
        #expect(failures.withLock { $0.map(\.message) }.first?.contains("PCM") == true)
        #expect(failures.withLock { $0.count } == 1)
    }
}
