import ArgumentParser
import Display
import Glibc
import PeerConnection
import Signaling
import TerminalUI

/// `rtc-peer call`: meets others in a room and calls them.
struct CallCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "call",
        abstract: "Calls whoever opens the printed address, or whoever is in a room of another server.",
        discussion: """
            Without --server it serves the page itself. While the call runs, lines typed are sent as chat, \
            “/send FILE” sends a file, “/mute” and “/video” turn microphone and camera off and on, and “/quit” \
            hangs up.

            Ctrl-C, SIGTERM and SIGHUP hang up and finish recordings; a second one ends at once. So does Ctrl-\\ \
            (SIGQUIT), the system's way out of a program that hangs: nothing is finished, and a recording lacks its \
            index and duration, though it plays up to its end.

            Examples:
              rtc-peer call
              rtc-peer call --listen 0.0.0.0:8443 --tls
              rtc-peer call --listen 0.0.0.0:8443 --tls --udp-port 40000
              rtc-peer call --interface eth0 --port-range 50000-50100
              rtc-peer call --server http://192.0.2.7:8080 --room tea --name Otter
              rtc-peer call --show --record call.webm
              rtc-peer call --show terminal --video test --audio tone
              rtc-peer call --video film.webm --audio film.webm --once --duration 60
              rtc-peer call --video camera --video-codec h264
              rtc-peer call --video screen
              rtc-peer call --video screen:HDMI-1 --size 1280x720@15
              rtc-peer call --video "screen:Text Editor"
            """
    )

    @OptionGroup var server: ServerOptions
    @OptionGroup var path: PathOptions
    @OptionGroup var output: OutputOptions

    @Option(
        name: .customLong("server"),
        help: ArgumentHelp(
            "Call through this server instead of one of our own. Example: --server https://call.example.org",
            valueName: "URL"
        )
    )
    var serverURL: String?

    @Option(
        help: ArgumentHelp(
            "The SHA-256 of that server's self-made certificate, as it prints it: no other is taken. Example: --server https://192.168.1.20:8443 --server-fingerprint 5D:3F:…",
            valueName: "SHA-256"
        )
    )
    var serverFingerprint: String?

    @Option(help: ArgumentHelp("The room to meet in; made up if not given. Example: --room tea", valueName: "NAME"))
    var room: String?

    @Option(help: ArgumentHelp("What others see you as. Example: --name Otter", valueName: "TEXT"))
    var name = "rtc-peer"

    @Option(
        defaultAsFlag: CallShow.window,
        help: ArgumentHelp(
            "Show the pictures: in a window, or in the terminal by the best means it has or the one named (terminal, blocks, sixel, kitty). Example: --show, --show terminal",
            valueName: "WHERE"
        )
    )
    var show: CallShow?

    @Option(
        help: ArgumentHelp(
            "What to send as picture: camera, screen (or screen:NAME for a monitor or window that `rtc-peer devices` lists, by name, number or part of its title), test (a moving pattern with number and clock), none, or a WebM (VP8), Y4M or IVF file; a file of H.264 (Annex B, at the rate of --size) is sent as it is. Example: --video clip.webm, --video screen",
            valueName: "SOURCE"
        )
    )
    var video: VideoChoice = .camera

    @Option(
        help: ArgumentHelp(
            "What to send as sound: microphone, tone, none, or a WAV, Ogg (Opus) or WebM file. Example: --audio speech.opus",
            valueName: "SOURCE"
        )
    )
    var audio: AudioChoice = .microphone

    @Flag(help: "Play files once instead of again and again. Example: --video clip.webm --once")
    var once = false

    @Flag(help: "The same as --video test --audio tone. Example: --test-pattern")
    var testPattern = false

    @Flag(help: "The same as --video none. Example: --no-video")
    var noVideo = false

    @Flag(help: "The same as --audio none. Example: --no-audio")
    var noAudio = false

    @Option(
        help: ArgumentHelp(
            "Size and rate of the picture; 640x360@30 if not given. The screen keeps its shape and gets no larger than this, or than 1920x1080@30. Example: --size 1280x720@30",
            valueName: "WxH@FPS"
        ),
        transform: PictureSize.init(parsing:)
    )
    var size: PictureSize?

    @Option(
        help: ArgumentHelp("The same as --video FILE. Example: --video-file film.y4m", valueName: "FILE")
    )
    var videoFile: String?

    @Option(
        help: ArgumentHelp("The same as --audio FILE. Example: --audio-file film.wav", valueName: "FILE")
    )
    var audioFile: String?

    @Option(
        help: ArgumentHelp(
            "The camera to use; `rtc-peer devices` lists them. Example: --camera /dev/video2",
            valueName: "DEVICE"
        )
    )
    var camera: String?

    @Option(
        help: ArgumentHelp(
            "Who encodes the camera's pictures: vp8 (this program), h264 (the camera's own H.264, where it and the peer have it) or camera (whatever the camera's encoder has). Where that cannot be had, VP8 is made here. Example: --video-codec h264",
            valueName: "CODEC"
        )
    )
    var videoCodec: CameraEncodingChoice = .vp8

    @Option(
        help: ArgumentHelp(
            "The microphone to use, by its ALSA name. Example: --microphone plughw:1,0",
            valueName: "NAME"
        )
    )
    var microphone: String?

    @Option(
        help: ArgumentHelp(
            "Where to play what comes, by its ALSA name. Example: --speaker plughw:CARD=PCH",
            valueName: "NAME"
        )
    )
    var speaker: String?

    @Flag(help: "Do not play what comes. Example: --no-speaker")
    var noSpeaker = false

    @OptionGroup(title: "Sound") var sound: SoundOptions

    @Option(
        help: ArgumentHelp(
            "Record what comes, as it comes: into FILE.webm, each further participant into FILE-NAME.webm; or into a folder, NAME.webm each. Example: --record call.webm",
            valueName: "FILE|DIR"
        )
    )
    var record: String?

    @Option(
        help: ArgumentHelp(
            "Take files that others send into this folder. Example: --downloads ~/Downloads",
            valueName: "DIR"
        )
    )
    var downloads: String?

    @Option(
        help: ArgumentHelp(
            "Call everybody through this one UDP port, for a firewall that has no other open. Example: --udp-port 40000",
            valueName: "PORT"
        )
    )
    var udpPort: UInt16?

    @Option(help: ArgumentHelp("Hang up after so many seconds. Example: --duration 60", valueName: "SECONDS"))
    var duration: Double?

    @Flag(help: "Go on when the last other participant has hung up. Example: --stay")
    var stay = false

    func validate() throws {
        if let duration, !(duration > 0 && duration < 1e7) {
            throw ValidationError("--duration must be more than 0 seconds")
        }
        if let room, !RoomNames.isValid(room) {
            throw ValidationError(
                "--room \(room): use 1 to 64 letters, digits, “-”, “_”, “.” or “~”, beginning with a letter or a digit"
            )
        }
        try MeetingOptions.validate(serverURL: serverURL, fingerprint: serverFingerprint)
        if serverURL != nil, server.certificateSource != nil {
            throw ValidationError("--tls is for a server of our own; with --server leave it out")
        }
        if udpPort == 0 { throw ValidationError("--udp-port must be 1 to 65535") }
        if let udpPort, let range = path.portRange?.range, !range.contains(udpPort) {
            let words = "\(range.lowerBound)-\(range.upperBound)"
            throw ValidationError("--udp-port \(udpPort) is not in --port-range \(words)")
        }
        if noSpeaker, let speaker { throw ValidationError("--speaker \(speaker) is of no use with --no-speaker") }
        if let camera, videoChoice != .camera {
            throw ValidationError("--camera \(camera) is of no use without the camera's picture: leave it out")
        }
        if let microphone, audioChoice != .microphone {
            throw ValidationError("--microphone \(microphone) is of no use without its sound: leave it out")
        }
        if name.utf8.count > 64 { throw ValidationError("--name takes at most 64 bytes") }
    }

    func run() async throws {
        output.startLogging()
        // A reader that goes away must not end the call.
        signal(SIGPIPE, SIG_IGN)
        let show = CallOutput(isJSON: output.json)
        let (requests, request) = AsyncStream<ViewRequest>.makeStream()
        do {
            if let downloads { try makeDirectory(downloads) }
            let recordings = try record.map { path throws(MediaError) in try RecordingPlace(path) }
            let media = try await CallMediaOptions(
                video: videoChoice,
                audio: audioChoice,
                isLooping: !once,
                wantedSize: size,
                camera: camera,
                cameraEncoding: videoCodec,
                microphone: microphone,
                speaker: speaker,
                playsSound: !noSpeaker,
                sound: sound
            ).open()
            for note in media.notes { show.say(note) }
            let room = room ?? RoomNames.random()
            if let advice = path.advice { show.problem(advice) }
            var configuration = path.configuration(with: server.ice)
            configuration.prefersDTX = sound.dtx
            if let udpPort { configuration.sharedUDPPort = try await SharedUDPPort(port: udpPort) }
            let openView = { [place = self.show] in
                try await place?.open(title: "rtc-peer: \(room)", output: show) { request.yield($0) }
            }
            // A window may be refused before anything is told; a terminal is drawn on below what is told.
            var view = self.show == .window ? try await openView() : nil
            let (embedded, address, fingerprint) = try await startServer(show, room: room)
            let place = "\(address.hasSuffix("/") ? address : address + "/")\(room)"
            let announce: @Sendable () -> Void = {
                show.ready(url: place, server: address, room: room, certificate: fingerprint)
            }
            let client = try SignalingClient(
                url: address,
                room: room,
                name: name,
                certificateFingerprint: fingerprint
            )
            let session = CallSession(
                options: .init(
                    name: name,
                    room: room,
                    duration: duration.map { .seconds($0) },
                    recordings: recordings,
                    downloadDirectory: downloads,
                    configuration: configuration,
                    hasDTX: sound.dtx,
                    staysAlone: stay,
                    joined: embedded == nil ? announce : nil
                ),
                client: client,
                media: media,
                output: show
            )
            if view == nil { view = try await openView() }
            let ending = await session.run(isJSON: output.json, view: view, requests: requests)
            view?.close()
            TerminalRestoration.disarm()
            await embedded?.stop()
            show.ended(ending.reason)
            if ending.isFailure { throw ExitCode.failure }
        } catch let error as ExitCode {
            throw error
        } catch {
            throw Exit.failure("\(error)", json: output.json)
        }
    }

    /// The source of pictures, the older options included; those win over a default.
    var videoChoice: VideoChoice {
        if noVideo { return .none }
        if let videoFile { return .file(videoFile) }
        return testPattern && video == .camera ? .test : video
    }

    var audioChoice: AudioChoice {
        if noAudio { return .none }
        if let audioFile { return .file(audioFile) }
        return testPattern && audio == .microphone ? .tone : audio
    }

    /// Starts the server of our own unless another one is named, and tells where the call is.
    ///
    /// - Returns: the server if it is our own, its address, and the fingerprint of its certificate if that is known.
    private func startServer(
        _ show: CallOutput,
        room: String
    ) async throws -> (own: SignalingServer?, url: String, fingerprint: String?) {
        if let serverURL {
            show.say("Joining the room \(room) of \(serverURL)")
            return (nil, serverURL, serverFingerprint)
        }
        let own = SignalingServer(configuration: server.makeConfiguration())
        let endpoint = try await own.start()
        let url = endpoint.url + room
        show.ready(url: url, server: endpoint.url, room: room, certificate: endpoint.certificateFingerprint)
        show.say("Open this address in a browser:  \(url)")
        for other in endpoint.networkURLs { show.say("On another machine:  \(other)\(room)") }
        if let fingerprint = endpoint.certificateFingerprint { show.say("Its certificate's SHA-256: \(fingerprint)") }
        show.draw(QRCode.lines((endpoint.networkURLs.first ?? endpoint.url) + room, for: .standardError))
        show.say("Chat by typing, “/send FILE” sends a file, “/quit” or Ctrl-C hangs up.")
        return (own, endpoint.url, endpoint.certificateFingerprint)
    }

    private func makeDirectory(_ path: String) throws {
        // With the slash a file of that name is refused as well.
        if unsafe mkdir(path, 0o755) == 0 || errno == EEXIST && access(path + "/", W_OK) == 0 { return }
        throw MediaError(.notUsable, path, "cannot be used as a folder: \(unsafe String(cString: strerror(errno)))")
    }
}

/// Names of rooms.
enum RoomNames {
    private static let adjectives = [
        "quiet", "brave", "amber", "swift", "gentle", "merry", "clever", "sunny", "misty", "noble",
    ]
    private static let animals = [
        "otter", "heron", "badger", "falcon", "lynx", "beaver", "robin", "marten", "salmon", "hare",
    ]

    /// As `quiet-otter-417`, hard enough to guess by chance on a LAN.
    static func random() -> String {
        "\(adjectives.randomElement() ?? "quiet")-\(animals.randomElement() ?? "otter")-\(Int.random(in: 100...999))"
    }

    static func isValid(_ name: String) -> Bool { RoomName.isValid(name) || RoomName.isReserved(name) }
}
