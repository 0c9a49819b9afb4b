import ArgumentParser
import Glibc
import Locking
import PeerConnection
import TerminalUI

/// `rtc-peer devices`: what there is to call with, and whether it works.
struct DevicesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "devices",
        abstract: "Lists cameras, microphones, loudspeakers and screens; watches, sets and tries them if asked.",
        discussion: """
            Examples:
              rtc-peer devices
              rtc-peer devices --watch
              rtc-peer devices --controls --set power_line_frequency=1
              rtc-peer devices --try
              rtc-peer devices --try --camera /dev/video2 --size 1280x720@30 --seconds 10
            """
    )

    @Flag(
        name: .customLong("try"),
        help: """
            Open a camera and a microphone, measure what they give, and play a tone. Example: --try
            """
    )
    var tries = false

    @Flag(help: "Go on, and tell what is plugged in and taken away, until Ctrl-C. Example: --watch")
    var watch = false

    @Flag(help: "List what cameras let be set: exposure, focus, the mains' frequency. Example: --controls")
    var controls = false

    @Option(
        help: ArgumentHelp(
            "Set a control of --camera, or of the only one. Example: --set exposure_time_absolute=200",
            valueName: "NAME=VALUE"
        ),
        transform: { text in
            let parts = text.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let value = Int(parts[1]) else {
                throw ValidationError("--set \(text): expected NAME=NUMBER; --controls lists the names")
            }
            return CameraSetting(name: String(parts[0]), value: value)
        }
    )
    var set: [CameraSetting] = []

    @Option(help: ArgumentHelp("How long each is tried. Example: --seconds 10", valueName: "SECONDS"))
    var seconds = 3.0

    @Option(
        help: ArgumentHelp("Size and rate that are asked for. Example: --size 1280x720@30", valueName: "WxH@FPS"),
        transform: PictureSize.init(parsing:)
    )
    var size = PictureSize()

    @Option(
        help: ArgumentHelp(
            "The camera to try, or to say what a call makes of it. Example: --camera /dev/video2",
            valueName: "DEVICE"
        )
    )
    var camera: String?

    @Option(
        help: ArgumentHelp(
            "The camera's format, one of those listed, instead of the cheapest. Example: --format mjpeg",
            valueName: "FORMAT"
        ),
        transform: { text in
            guard let format = CameraPixelFormat(rawValue: text) else {
                let known = CameraPixelFormat.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("--format \(text): expected one of \(known)")
            }
            return format
        }
    )
    var format: CameraPixelFormat?

    @Option(
        help: ArgumentHelp(
            "The microphone to try or to ask for, by its ALSA name. Example: --microphone plughw:1,0",
            valueName: "NAME"
        )
    )
    var microphone: String?

    @Option(
        help: ArgumentHelp(
            "The loudspeaker to try or to ask for, by its ALSA name. Example: --speaker plughw:1,0",
            valueName: "NAME"
        )
    )
    var speaker: String?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard seconds > 0, seconds < 3_600 else {
            throw ValidationError("--seconds must be more than 0 and less than 3600")
        }
    }

    func run() async throws {
        output.startLogging()
        // Subscribed before the list is made, so that nothing falls between the two.
        let events = watch ? MediaDevices.shared.events : nil
        await list()
        // Whoever tries or sets devices finds them untouched.
        var hasFailed = tries || !set.isEmpty ? false : await !showChoices()
        if controls || !set.isEmpty {
            do {
                try await changeAndListControls()
            } catch {
                hasFailed = true
                fail(error)
            }
        }
        for trial in tries ? [tryCamera, tryMicrophone, trySpeaker] : [] {
            do {
                let outcome = try await trial()
                show((outcome.line, outcome.text))
                if !outcome.works { hasFailed = true }
            } catch {
                hasFailed = true
                fail(error)
            }
        }
        if let events { await follow(events) }
        if hasFailed { throw ExitCode.failure }
    }

    private func fail(_ error: any Error) { fail("\(error)") }

    private func fail(_ words: String) {
        var line = JSONLine(event: "error")
        line["message"] = .string(words)
        show((line, "! \(words)"))
    }

    private var wish: CameraWish {
        var wish = size.wish
        if let format { wish.formats = [format] }
        return wish
    }

    // MARK: The list

    private func list() async {
        let devices = await MediaDevices.shared.enumerateDevices()
        let listing = Camera.all(wish: wish)
        for camera in listing.cameras {
            var line = JSONLine(event: "camera")
            line["path"] = .string(camera.path)
            line["name"] = .string(camera.name)
            let id = devices.first { $0.systemName == camera.path }?.deviceId
            if let id { line["id"] = .string(id) }
            line["modes"] = .string(camera.modes.map(text).joined(separator: "; "))
            if !camera.encodedModes.isEmpty {
                let texts = camera.encodedModes.map { "\($0.codec.rawValue) \(sizeText($0))" }
                line["encodedModes"] = .string(texts.joined(separator: "; "))
            }
            show((line, "Camera \(camera.path)  \(camera.name)" + (id.map { "  \($0)" } ?? "")))
            for format in CameraPixelFormat.allCases {
                let modes = camera.modes.filter { $0.format == format }
                if !modes.isEmpty, !output.json { print("  \(format)  \(modes.map(sizeText).joined(separator: ", "))") }
            }
            for codec in VideoCodec.allCases {
                let modes = camera.encodedModes.filter { $0.codec == codec }
                guard !modes.isEmpty, !output.json else { continue }
                print("  \(codec.rawValue), encoded by the camera  \(modes.map(sizeText).joined(separator: ", "))")
            }
        }
        for problem in listing.problems { fail(problem) }
        if listing.cameras.isEmpty, listing.problems.isEmpty { await explain(.videoinput) }
        for (kind, noun) in [(MediaDeviceKind.audioinput, "microphone"), (.audiooutput, "loudspeaker")] {
            let found = devices.filter { $0.kind == kind }
            for device in found {
                var line = JSONLine(event: noun)
                line["name"] = .string(device.systemName)
                line["description"] = .string(device.label)
                show((line, "\(noun.capitalizedFirst) \(device.systemName)  \(device.label)"))
            }
            // ALSA lists its ways to a sound server also where there is none; of cards it lists those it may open.
            let direction = kind == .audioinput ? SoundDevice.Direction.capture : .playback
            let hasCard = found.contains { $0.systemName.hasPrefix("plughw:") }
            if found.isEmpty || !hasCard && SoundDevice.refusal(direction) != nil { await explain(kind) }
        }
        await listScreens()
    }

    /// Says what a call with these options would take, and why.
    ///
    /// - Returns: whether all that was named can be had: else a call ends with the same error.
    func showChoices() async -> Bool {
        var works = true
        let listed = Set(await MediaDevices.shared.enumerateDevices().map(\.kind))
        func tell(_ kind: MediaDeviceKind, isNamed: Bool, _ find: () async throws -> DeviceChoice?) async {
            do {
                if let choice = try await find() { show((choice.line, choice.text)) }
            } catch {
                if isNamed {
                    works = false
                    fail(error)
                } else if listed.contains(kind), !isRefusal(error) {
                    fail("a call takes no \(kind.word) of these: \(error)")
                }
            }
        }
        await tell(.videoinput, isNamed: camera != nil) { try await DeviceChoice.camera(camera, size: size) }
        await tell(.audioinput, isNamed: microphone != nil) { try await DeviceChoice.microphone(microphone) }
        await tell(.audiooutput, isNamed: speaker != nil) { try DeviceChoice.speaker(speaker) }
        return works
    }

    /// Whether this user may not use a device, which the list has said.
    private func isRefusal(_ error: any Error) -> Bool {
        (error as? RTCError)?.name == .notAllowedError || (error as? MediaError)?.kind == .notPermitted
    }

    /// What `--video screen:NAME` may name; without a display nothing.
    private func listScreens() async {
        let surfaces: [DisplaySurface]
        do throws(RTCError) {
            surfaces = try await MediaDevices.shared.displaySurfaces()
        } catch {
            // A machine without a display lacks nothing.
            if error.name != .notFoundError, !output.json { print(TerminalText.printable("! \(error.message)")) }
            return
        }
        for surface in surfaces {
            var line = JSONLine(event: "screen")
            line["kind"] = .string(surface.kind.rawValue)
            line["id"] = .string(surface.id)
            line["name"] = .string(surface.label)
            line["display"] = .string(surface.display)
            guard surface.kind != .portal else {
                show((line, "Screen \(surface.id)  \(surface.label)  (Wayland, by xdg-desktop-portal and PipeWire)"))
                continue
            }
            for (key, value) in [
                ("x", surface.x), ("y", surface.y), ("width", surface.width), ("height", surface.height),
            ] { line[key] = .integer(Int64(value)) }
            let place = "\(surface.width)x\(surface.height)+\(surface.x)+\(surface.y)"
            let name = surface.label == surface.id ? surface.id : "\(surface.id)  \(surface.label)"
            let display = surface.kind == .screen ? "  display \(surface.display)" : ""
            show((line, "\(CallScreen.noun(surface)) \(name)  \(place)\(display)"))
        }
    }

    /// Says why there is nothing of a kind, for people.
    private func explain(_ kind: MediaDeviceKind) async {
        let reason = await MediaDevices.shared.absence(of: kind)
        if !output.json { print(TerminalText.printable("! \(reason.message)")) }
    }

    // MARK: Watching

    private func follow(_ events: EventStream<MediaDevices.Event>) async {
        fflush(nil)
        let watching = Task {
            for await case .devicechange(let change) in events {
                for device in change.removedDevices { tell(device, "removed") }
                for device in change.userInsertedDevices { tell(device, "added") }
                // A reader of a pipe gets each line at once.
                fflush(nil)
            }
        }
        for await _ in Interrupts.stream() { break }
        watching.cancel()
    }

    private func tell(_ device: MediaDeviceInfo, _ change: String) {
        var line = JSONLine(event: "device")
        line["change"] = .string(change)
        line["kind"] = .string(device.kind.rawValue)
        line["id"] = .string(device.deviceId)
        line["name"] = .string(device.label)
        line["path"] = .string(device.systemName)
        let sign = change == "added" ? "+" : "-"
        show((line, "\(sign) \(device.kind.rawValue) \(device.systemName)  \(device.label)"))
    }

    // MARK: Controls

    private func changeAndListControls() async throws {
        let paths = await CallDevices.node(of: camera).map { [$0] } ?? Camera.all().cameras.map(\.path)
        if !set.isEmpty, paths.count != 1 {
            throw MediaError(.invalidArgument, "--set", "there are \(paths.count) cameras: name one with --camera")
        }
        for path in paths {
            let camera = try CameraControls(path: path)
            for setting in set { try camera.set(setting.name, to: setting.value) }
            if controls { for control in try camera.all() { show(control, path) } }
        }
    }

    private func show(_ control: CameraControl, _ path: String) {
        var line = JSONLine(event: "control")
        line["camera"] = .string(path)
        line["name"] = .string(control.name)
        line["title"] = .string(control.title)
        line["kind"] = .string(control.kind.rawValue)
        line["minimum"] = .integer(Int64(control.range.lowerBound))
        line["maximum"] = .integer(Int64(control.range.upperBound))
        line["step"] = .integer(Int64(control.step))
        line["default"] = .integer(Int64(control.defaultValue))
        if let value = control.value { line["value"] = .integer(Int64(value)) }
        let choices = control.choices.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        if !choices.isEmpty { line["choices"] = .string(choices) }
        line["isReadOnly"] = .bool(control.isReadOnly)
        line["isInactive"] = .bool(control.isInactive)
        let range = choices.isEmpty ? "\(control.range.lowerBound) to \(control.range.upperBound)" : choices
        let marks = (control.isReadOnly ? "  read only" : "") + (control.isInactive ? "  inactive" : "")
        let value = control.kind == .button ? "button" : control.value.map { "\($0)" } ?? "–"
        show((line, "  \(control.name) = \(value)  (\(range); default \(control.defaultValue))\(marks)"))
    }

    private func text(_ mode: CameraMode) -> String { "\(mode.format) \(sizeText(mode))" }

    private func sizeText(_ mode: CameraMode) -> String { sizeText(mode.width, mode.height, mode.intervals) }

    private func sizeText(_ mode: CameraEncodedMode) -> String { sizeText(mode.width, mode.height, mode.intervals) }

    private func sizeText(_ width: Int, _ height: Int, _ intervals: [FrameInterval]) -> String {
        let fastest = intervals.map(\.framesPerSecond).max()
        return "\(width)x\(height)" + (fastest.map { "@\(number($0))" } ?? "")
    }

    // MARK: Trying

    private struct TrialOutcome {
        let line: JSONLine
        /// Whether the device gave or took anything, and was there to the end.
        let works: Bool
        let text: String
    }

    private func tryCamera() async throws -> TrialOutcome {
        let finding = try CallDevices.camera(await CallDevices.node(of: camera), wish: wish)
        guard let source = finding.device else {
            throw MediaError(.notFound, "camera", CallDevices.sentence("camera", finding.problems))
        }
        let trial = Trial()
        source.addFailureHandler { trial.fail($0) }
        try source.start { frame in trial.take(frame) }
        try await Task.sleep(for: .seconds(seconds))
        source.stop()
        let (result, statistics) = (trial.result, source.statistics)
        var line = JSONLine(event: "camera-tried")
        line["path"] = .string(source.path)
        line["format"] = .string(source.mode.format.rawValue)
        line["width"] = .integer(Int64(source.mode.width))
        line["height"] = .integer(Int64(source.mode.height))
        line["framesPerSecond"] = .number(result.rate)
        line["frames"] = .integer(Int64(statistics.framesDelivered))
        line["damaged"] = .integer(Int64(statistics.framesDamaged))
        line["missed"] = .integer(Int64(statistics.framesMissed))
        line["latency"] = .number(result.latencyMilliseconds)
        line["isMonotonic"] = .bool(result.isMonotonic)
        line["colours"] = .string(result.colours)
        if let failure = result.failure { line["failure"] = .string("\(failure)") }
        return TrialOutcome(
            line: line,
            works: result.failure == nil && statistics.framesDelivered > 0,
            text: "\(source.path): \(statistics.framesDelivered) pictures of "
                + "\(source.mode.width)x\(source.mode.height) in "
                + "\(source.mode.format), \(number(result.rate)) a second, \(statistics.framesDamaged) broken, "
                + "\(statistics.framesMissed) missed, \(number(result.latencyMilliseconds)) ms old"
                + (result.failure.map { "; \($0)" } ?? "")
        )
    }

    private func tryMicrophone() async throws -> TrialOutcome {
        let source = try ALSAMicrophone(name: await CallDevices.microphone(microphone).name)
        let trial = Trial()
        source.addFailureHandler { trial.fail($0) }
        try source.start { block in trial.take(block) }
        try await Task.sleep(for: .seconds(seconds))
        source.stop()
        let (result, statistics) = (trial.result, source.statistics)
        var line = JSONLine(event: "microphone-tried")
        line["name"] = .string(source.name)
        line["sampleRate"] = .integer(Int64(source.sampleRate))
        line["channels"] = .integer(Int64(source.channelCount))
        line["samplesPerSecond"] = .number(result.rate)
        line["overruns"] = .integer(Int64(statistics.overruns))
        line["latency"] = .number(result.latencyMilliseconds)
        line["isMonotonic"] = .bool(result.isMonotonic)
        line["level"] = .number(result.level)
        line["frequency"] = .number(result.frequency)
        if let failure = result.failure { line["failure"] = .string("\(failure)") }
        return TrialOutcome(
            line: line,
            works: result.failure == nil && result.rate > 0,
            text: "\(source.name): \(number(result.rate)) samples a second, "
                + "level \(number(result.level * 100)) % of full scale, "
                + "loudest at \(number(result.frequency)) Hz, \(statistics.overruns) overruns"
                + (result.failure.map { "; \($0)" } ?? "")
        )
    }

    private func trySpeaker() async throws -> TrialOutcome {
        let finding = try CallDevices.speaker(speaker)
        guard let sink = finding.device else {
            throw MediaError(.notFound, "loudspeaker", CallDevices.sentence("loudspeaker", finding.problems))
        }
        let trial = Trial()
        sink.addFailureHandler { trial.fail($0) }
        let (tone, input) = (Tone(frequency: 600), sink.makeInput())
        try sink.start()
        try tone.start { input.take($0) }
        try await Task.sleep(for: .seconds(seconds))
        tone.stop()
        sink.stop()
        let statistics = sink.statistics
        var line = JSONLine(event: "loudspeaker-tried")
        line["name"] = .string(sink.name)
        line["sampleRate"] = .integer(Int64(sink.sampleRate))
        line["channels"] = .integer(Int64(sink.channelCount))
        line["underruns"] = .integer(Int64(statistics.deviceUnderruns))
        line["inputUnderruns"] = .integer(Int64(statistics.inputUnderruns))
        line["dropped"] = .integer(Int64(statistics.samplesDropped))
        if let failure = trial.result.failure { line["failure"] = .string("\(failure)") }
        return TrialOutcome(
            line: line,
            works: trial.result.failure == nil,
            text: "\(sink.name): a tone of 600 Hz was played, \(statistics.deviceUnderruns) underruns"
                + (trial.result.failure.map { "; \($0)" } ?? "")
        )
    }

    private func show(_ text: (json: JSONLine, people: String)) {
        if output.json {
            Terminal.standardOutput.write(text.json.text)
        } else {
            print(TerminalText.printable(text.people))
        }
    }

    private func number(_ value: Double) -> String { DeviceChoice.number(value) }
}

extension MediaDeviceKind {
    fileprivate var word: String {
        switch self {
        case .videoinput: "camera"
        case .audioinput: "microphone"
        case .audiooutput: "loudspeaker"
        }
    }
}

extension String {
    fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}

/// A control of a camera, and what to set it to.
struct CameraSetting: Sendable {
    var name: String
    var value: Int
}

/// What a device gave while it was tried.
private final class Trial: Sendable {
    private struct State {
        var count = 0
        var units = 0
        var unitsOfFirst = 0
        var firstTime: Int64 = 0
        var lastTime: Int64 = 0
        var isMonotonic = true
        var ages: Int64 = 0
        var samples: [Int16] = []
        var sampleRate = 48_000
        var colours = ""
        var failure: MediaError?
    }

    struct Result {
        /// Pictures, or samples of each channel, a second, by the device's own times.
        var rate: Double
        /// Average age at delivery.
        var latencyMilliseconds: Double
        var isMonotonic: Bool
        /// Root mean square, from 0 to 1.
        var level: Double
        var frequency: Double
        /// Y, U and V in the middle of eight columns, three quarters of the way down, of the last picture.
        var colours: String
        var failure: MediaError?
    }

    private let state = Mutex(State())

    func take(_ frame: VideoFrame) {
        let colours = (0..<8).map { column in
            let sample = frame.sample(x: (2 * column + 1) * frame.width / 16, y: frame.height * 3 / 4)
            return "\(sample.y),\(sample.u),\(sample.v)"
        }.joined(separator: " ")
        note(frame.timestampNanoseconds, units: 1) { $0.colours = colours }
    }

    func take(_ block: AudioFrame) {
        let mono = block.withChannels(1)
        note(block.timestampNanoseconds, units: mono.samples.count) { state in
            state.sampleRate = block.sampleRate
            // A second in the middle is enough.
            if state.count > 20, state.samples.count < block.sampleRate { state.samples += mono.samples }
        }
    }

    func fail(_ error: MediaError) { state.withLock { $0.failure = error } }

    private func note(_ time: Int64, units: Int, _ change: (inout State) -> Void) {
        var now = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        let nanoseconds = Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
        state.withLock { state in
            if state.count == 0 {
                state.firstTime = time
            } else if time <= state.lastTime {
                state.isMonotonic = false
            }
            state.lastTime = time
            // The time of a unit is that of its beginning: the last one is still to come.
            state.units += state.unitsOfFirst
            state.unitsOfFirst = units
            state.count += 1
            state.ages += nanoseconds - time
            change(&state)
        }
    }

    var result: Result {
        state.withLock { state in
            let seconds = Double(state.lastTime - state.firstTime) / 1e9
            let power = state.samples.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(max(1, state.samples.count))
            return Result(
                rate: seconds > 0 ? Double(state.units) / seconds : 0,
                latencyMilliseconds: Double(state.ages) / Double(max(1, state.count)) / 1e6,
                isMonotonic: state.isMonotonic,
                level: power.squareRoot() / 32_768,
                frequency: Tone.dominantFrequency(state.samples, sampleRate: state.sampleRate),
                colours: state.colours,
                failure: state.failure
            )
        }
    }
}
