import ArgumentParser
import Display
import Glibc
import Locking
import PeerConnection
import TerminalUI

/// `rtc-peer snapshot`: one picture of the camera or the screen as a PNG file.
struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Saves a picture of the camera or the screen as PNG.",
        discussion: """
            The camera is given half a second to find its exposure. A file that is there is replaced.

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
            let picture = try await Self.picture(of: source, settles: video == .camera)
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

    /// How long a camera may take to give a picture.
    private static let patience: Duration = .seconds(5)
    /// Nanoseconds until a camera has found its exposure.
    private static let settling: Int64 = 500_000_000

    private static func picture(of source: any VideoSource, settles: Bool) async throws -> VideoFrame {
        let first = Mutex<Int64?>(nil)
        let (pictures, feed) = AsyncThrowingStream<VideoFrame, any Error>.makeStream(
            bufferingPolicy: .bufferingNewest(1)
        )
        (source as? any FailingDevice)?.addFailureHandler { feed.finish(throwing: $0) }
        try source.start { frame in
            let start = first.withLock { first in
                if first == nil { first = frame.timestampNanoseconds }
                return first ?? 0
            }
            if !settles || frame.timestampNanoseconds - start >= settling { feed.yield(frame) }
        }
        defer { source.stop() }
        let watch = Task {
            try? await Task.sleep(for: patience)
            let words = "gave no picture within 5 s: try another --size, or look at `rtc-peer devices --try`"
            feed.finish(throwing: MediaError(.notUsable, source.label, words))
        }
        defer { watch.cancel() }
        for try await picture in pictures { return picture }
        throw CancellationError()
    }
}
