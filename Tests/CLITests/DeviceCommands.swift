import ArgumentParser
import PeerConnection
import TerminalUI
import Testing

@testable import rtc_peer

/// The arguments of `rtc-peer devices`.
@Suite struct DeviceCommands {
    @Test func `Settings of a camera are names and numbers`() throws {
        let command = try DevicesCommand.parse([
            "--controls", "--set", "brightness=-3", "--set", "power_line_frequency=1",
        ])
        #expect(command.set.map(\.name) == ["brightness", "power_line_frequency"])
        #expect(command.set.map(\.value) == [-3, 1])
        #expect(command.controls && !command.watch && !command.tries)
    }

    @Test(arguments: ["brightness", "brightness=", "=1", "brightness=high", "brightness=1=2", "=", ""])
    func `What is no setting is refused`(text: String) {
        #expect(throws: (any Error).self) { try DevicesCommand.parse(["--set", text]) }
    }

    @Test func `Odd sizes are taken, and what cannot be is refused with the nearest`() throws {
        let odd = try CallCommand.parse(["--size", "641x361@7"]).size
        #expect(odd?.width == 641 && odd?.height == 361 && odd?.framesPerSecond == 7)
        #expect(try SnapshotCommand.parse(["--size", "641X361", "x.png"]).size?.description == "641x361@30")
        #expect(try DevicesCommand.parse(["--size", "33x4095"]).size.description == "33x4095@30")
        let refused = [
            ("31x360", "the nearest is 32x360"), ("5000x-1", "the nearest is 4096x32"), ("640x360@0", "640x360@1"),
            ("640x360@121", "the nearest is 640x360@120"), ("640x360@fast", "“fast” is no number"),
            ("640", "expected WIDTHxHEIGHT"), ("x", "expected WIDTHxHEIGHT"), ("1x2x3", "expected WIDTHxHEIGHT"),
            ("640x360@30@30", "expected WIDTHxHEIGHT"), ("99999999999999999999x1", "expected WIDTHxHEIGHT"),
        ]
        for (text, words) in refused {
            let error = #expect(throws: (any Error).self, "\(text)") { try CallCommand.parse(["--size=\(text)"]) }
            let message = CallCommand.message(for: try #require(error))
            #expect(message.contains(words), "\(text): \(message)")
        }
    }

    private func mode(_ format: CameraPixelFormat, _ width: Int, _ height: Int, _ rate: UInt32) throws -> CameraMode {
        let interval = try #require(FrameInterval(numerator: 1, denominator: rate))
        return CameraMode(format: format, width: width, height: height, intervals: [interval])
    }

    @Test func `Why a camera is set so is said of all that it has`() throws {
        let modes = try [
            mode(.yuyv, 640, 360, 30), mode(.yuyv, 1_280, 720, 10), mode(.nv12, 640, 360, 30),
            mode(.mjpeg, 1_280, 720, 30), mode(.mjpeg, 640, 360, 30),
        ]
        func reason(_ mode: CameraMode, of modes: [CameraMode], _ size: String) throws -> String {
            DeviceChoice.reason(
                for: mode,
                framesPerSecond: mode.intervals.first?.framesPerSecond,
                of: modes,
                size: try PictureSize(parsing: size)
            )
        }
        #expect(try reason(modes[2], of: modes, "640x360@30").hasSuffix("costs least to convert"))
        #expect(
            try reason(modes[3], of: modes, "1280x720@30")
                == "what a call asks for; nv12 has not that size, yuyv has only 10 a second there"
        )
        #expect(try reason(modes[3], of: modes, "1920x1080@30") == "the nearest to 1920x1080@30 that the camera has")
        #expect(try reason(modes[1], of: [modes[1]], "1280x720@30").hasPrefix("the nearest"))
        #expect(try reason(modes[0], of: [modes[0]], "640x360@30") == "what a call asks for")
    }

    @Test func `What a call takes is a line for people and one for programs`() throws {
        let choice = DeviceChoice(
            noun: "camera",
            name: "/dev/video1",
            label: "Virtual USB",
            mode: try mode(.mjpeg, 1_280, 720, 30),
            framesPerSecond: 30,
            reason: "since"
        )
        #expect(choice.text == "A call takes the camera /dev/video1 at 1280x720@30 as mjpeg: since")
        #expect(choice.line.text.hasPrefix(#"{"event":"choice","kind":"camera","name":"/dev/video1""#))
    }
}
