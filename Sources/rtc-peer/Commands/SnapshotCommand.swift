import ArgumentParser
import Display
import PeerConnection
import TerminalUI

/// `rtc-peer snapshot`: one picture of the camera or the screen as a PNG file.
struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Saves a picture of the camera or the screen as PNG.",
        discussion: """
            The camera is given half a second to find its exposure. A file that is there is replaced. Some Wayland \
            desktops (wlroots, as sway) give no picture of a still screen: it is waited for half a minute until \
            something changes there, as when the pointer is moved.

            Examples:
              rtc-peer snapshot me.png
              rtc-peer snapshot --camera /dev/video2 --size 1280x720 desk.png
              rtc-peer snapshot --video test pattern.png
              rtc-peer snapshot --video screen screen.png
              rtc-peer snapshot --video "screen:Text Editor" window.png
            """
    )

    @OptionGroup var output: OutputOptions

    @Option(
        help: ArgumentHelp(
            "The camera to use; `rtc-peer devices` lists them. Example: --camera /dev/video2",
            valueName: "DEVICE"
        )
    )
    var camera: String?

    @Option(
        help: ArgumentHelp("What is asked of the camera. Example: --size 1280x720", valueName: "WxH@FPS"),
        transform: PictureSize.init(parsing:)
    )
    var size: PictureSize?

    @Option(
        help: ArgumentHelp(
            "Take the picture of something else instead: screen, screen:NAME for a monitor or window, test, or a file. Example: --video screen, --video clip.webm",
            valueName: "SOURCE"
        )
    )
    var video: VideoChoice = .camera

    @Argument(help: "The PNG file to write. Example: me.png")
    var file: String

    func validate() throws {
        if camera != nil, video != .camera { throw ValidationError("--camera is of no use with --video \(video.text)") }
        switch video {
        case .none: throw ValidationError("--video none gives no picture")
        case .file, .screen:
            if size != nil {
                throw ValidationError("--size is for cameras and the test pattern: \(video.text) has a size of its own")
            }
        case .camera, .test: break
        }
    }

    func run() async throws {
        output.startLogging()
        do {
            let source = try await openSource()
            let picture = try await FirstPicture(video, isPortal: source is PortalCapture).wait(for: source) { words in
                Terminal.standardError.write(words + "\n")
            }
            try PNGFile.write(try RGBPicture(picture), to: file)
            if output.json {
                var line = JSONLine(event: "snapshot")
                line["path"] = .string(file)
                line["width"] = .integer(Int64(picture.width))
                line["height"] = .integer(Int64(picture.height))
                line["source"] = .string(source.label)
                Terminal.standardOutput.write(line.text)
            } else {
                let words = "\(file): \(picture.width)x\(picture.height) of \(source.label)"
                Terminal.standardError.write(TerminalText.printable(words) + "\n")
            }
        } catch {
            throw Exit.failure("\(error)", json: output.json)
        }
    }

    private func openSource() async throws -> any VideoSource {
        let size = size ?? PictureSize()
        switch video {
        case .test, .none:
            return try TestPattern(width: size.width, height: size.height, framesPerSecond: size.framesPerSecond)
        case .file(let path): return try VideoFile(path: path, isLooping: false)
        case .screen(let name): return try await CallScreen.source(name)
        case .camera:
            let finding = try CallDevices.camera(await CallDevices.node(of: camera), wish: size.wish)
            guard let device = finding.device else {
                throw MediaError(
                    .notFound,
                    "camera",
                    "\(CallDevices.sentence("camera", finding.problems)): `rtc-peer devices` says what there is"
                )
            }
            return device
        }
    }
}
