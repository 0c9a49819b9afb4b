import ArgumentParser
import Foundation
import PeerConnection
import Testing

@testable import rtc_peer

/// What the options of a call name: sources, recordings, where pictures are shown.
@Suite struct CallSources {
    /// A folder that is removed with its owner.
    private final class Folder: Sendable {
        let path: String

        init() throws {
            path = NSTemporaryDirectory() + "/calls-" + UUID().uuidString
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func touch(_ name: String) throws { try Data().write(to: URL(fileURLWithPath: path + "/" + name)) }
    }

    @Test func `The first recording has the file's name, others the participant's as well`() throws {
        let folder = try Folder()
        let place = try RecordingPlace(folder.path + "/call.webm")
        #expect(place.freePath(for: "Otter") == folder.path + "/call.webm")
        try folder.touch("call.webm")
        #expect(place.freePath(for: "Otter") == folder.path + "/call-Otter.webm")
        try folder.touch("call-Otter.webm")
        #expect(place.freePath(for: "Otter") == folder.path + "/call-Otter-2.webm")
        #expect(place.freePath(for: "../../etc/passwd") == folder.path + "/call-passwd.webm")
    }

    @Test func `A folder gets a file for each name, and is made`() throws {
        let folder = try Folder()
        let place = try RecordingPlace(folder.path + "/calls")
        #expect(place.freePath(for: "Otter") == folder.path + "/calls/Otter.webm")
        try folder.touch("calls/Otter.webm")
        #expect(place.freePath(for: "Otter") == folder.path + "/calls/Otter-2.webm")
        // A folder may be called like a file.
        try FileManager.default.createDirectory(atPath: folder.path + "/x.webm", withIntermediateDirectories: true)
        #expect(try RecordingPlace(folder.path + "/x.webm").freePath(for: "A") == folder.path + "/x.webm/A.webm")
    }

    @Test func `Recordings replace nothing and are WebM`() throws {
        let folder = try Folder()
        try folder.touch("there.webm")
        for (name, part) in [
            ("there.webm", "exists already"), ("film.mp4", "ends in .webm"),
            ("no/where.webm", "cannot be used as a folder"),
            ("there.webm/below", "cannot be used as a folder"),
        ] {
            let error = #expect(throws: MediaError.self) { _ = try RecordingPlace(folder.path + "/" + name) }
            #expect(error?.message.contains(part) == true, "\(name): \(String(describing: error))")
        }
    }

    @Test func `Sources are names or files`() {
        #expect(VideoChoice(argument: "camera") == .camera && VideoChoice(argument: "test") == .test)
        #expect(VideoChoice(argument: "none") == VideoChoice.none)
        #expect(VideoChoice(argument: "./test") == .file("./test"))
        #expect(VideoChoice(argument: "") == nil)
        #expect(VideoChoice(argument: "screen") == .screen(nil))
        #expect(VideoChoice(argument: "screen:HDMI-1") == .screen("HDMI-1"))
        #expect(VideoChoice(argument: "screen:Notes: today")?.text == "screen:Notes: today")
        #expect(VideoChoice(argument: "screen:") == nil && VideoChoice(argument: "./screen") == .file("./screen"))
        #expect(AudioChoice(argument: "tone") == .tone && AudioChoice(argument: "microphone") == .microphone)
        #expect(AudioChoice(argument: "speech.opus") == .file("speech.opus"))
    }

    @Test func `Older options mean the same`() throws {
        func choices(_ arguments: String...) throws -> (VideoChoice, AudioChoice, CallShow?) {
            let command = try #require(try RTCPeerCommand.parsed(["call"] + arguments) as? CallCommand)
            return (command.videoChoice, command.audioChoice, command.show)
        }
        #expect(try choices() == (.camera, .microphone, nil))
        #expect(try choices("--test-pattern") == (.test, .tone, nil))
        #expect(try choices("--test-pattern", "--no-video") == (.none, .tone, nil))
        #expect(try choices("--video-file", "a.y4m", "--no-audio") == (.file("a.y4m"), .none, nil))
        #expect(
            try choices("--video", "a.webm", "--audio", "a.webm", "--show") == (
                .file("a.webm"), .file("a.webm"), .window
            )
        )
        #expect(try choices("--show", "terminal", "--video", "test") == (.test, .microphone, .terminal))
        #expect(throws: (any Error).self) { try choices("--show", "nowhere") }
    }
}
