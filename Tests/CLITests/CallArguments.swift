import ArgumentParser
import PeerConnection
import Testing

@testable import rtc_peer

/// What `rtc-peer call` says of its arguments before anything begins.
@Suite struct CallArguments {
    private func refusal(_ arguments: String...) -> String? {
        do {
            _ = try CallCommand.parse(arguments)
            return nil
        } catch {
            return CallCommand.message(for: error)
        }
    }

    @Test func soundIsProcessedUnlessToldOtherwise() throws {
        func constraints(_ arguments: String...) throws -> MediaTrackConstraints {
            let command = try CallCommand.parse(arguments)
            return command.sound.constraints(microphone: command.microphone, isHeard: !command.noSpeaker)
        }
        let plain = try constraints()
        #expect(plain.echoCancellation == true && plain.noiseSuppression == true && plain.autoGainControl == true)
        #expect(try constraints("--no-echo-cancellation").echoCancellation == false)
        #expect(try constraints("--no-noise-suppression").noiseSuppression == false)
        #expect(try constraints("--no-gain-control").autoGainControl == false)
        // Without a loudspeaker there is no echo.
        let alone = try constraints("--no-speaker", "--microphone", "plughw:1,0")
        #expect(alone.echoCancellation == false && alone.noiseSuppression == true)
        #expect(alone.deviceId?.exact == ["plughw:1,0"])
        #expect(try CallCommand.parse([]).sound.dtx == false)
        #expect(try CallCommand.parse(["--dtx"]).sound.dtx)
    }

    @Test func optionsThatContradictAreRefused() throws {
        #expect(refusal("--udp-port", "40000", "--port-range", "50000-50100")?.contains("not in --port-range") == true)
        #expect(refusal("--udp-port", "50007", "--port-range", "50000-50100") == nil)
        #expect(refusal("--speaker", "default", "--no-speaker")?.contains("--no-speaker") == true)
        for video in [["--video", "test"], ["--no-video"], ["--video-file", "x.webm"]] {
            let arguments = ["--camera", "/dev/video0"] + video
            #expect(throws: (any Error).self, "\(arguments)") { try CallCommand.parse(arguments) }
        }
        #expect(refusal("--microphone", "default", "--audio", "tone")?.contains("--microphone default") == true)
        #expect(refusal("--microphone", "default", "--camera", "/dev/video0", "--speaker", "default") == nil)
    }

    @Test func snapshotsHaveAPictureAndASizeOfTheirOwn() throws {
        let refused = [
            ["--video", "none"], ["--video", "screen", "--size", "320x180"], ["--camera", "x", "--video", "test"],
        ]
        for arguments in refused {
            #expect(throws: (any Error).self, "\(arguments)") { try SnapshotCommand.parse(arguments + ["x.png"]) }
        }
        _ = try SnapshotCommand.parse(["--video", "test", "--size", "320x180", "x.png"])
    }

    @Test func rulesThatNothingFitsAreToldBeforeAnybodyComes() throws {
        #expect(try CallCommand.parse(["--interface", "nosuch0"]).path.advice?.contains("--interface") == true)
        #expect(try CallCommand.parse(["--interface", "lo"]).path.advice == nil)
        #expect(try CallCommand.parse([]).path.advice == nil)
    }

    @Test func addressesAndPortsOfThisMachineAreChosen() throws {
        let command = try CallCommand.parse([
            "--interface", "eth0", "--interface", "!10.0.0.0/8", "--port-range", "50000-50100",
        ])
        let configuration = command.path.configuration(with: command.server.ice)
        #expect(configuration.networkRules.map(\.description) == ["eth0", "!10.0.0.0/8"])
        #expect(configuration.portRange == 50_000...50_100)
        #expect(refusal("--interface", "eth0/24")?.contains("neither an interface") == true)
        for range in ["50100-50000", "0-5", "1-70000", "x", "-5", ""] {
            #expect(refusal("--port-range=\(range)")?.contains("port-range") == true)
        }
        let transfer = try SendCommand.parse(["--interface", "wl*", "--relay-only", "file"])
        #expect(transfer.meeting.path.configuration(with: transfer.meeting.ice).iceTransportPolicy == .relay)
    }

    @Test func levelsAreBars() {
        func text(_ sent: Double?, _ received: Double?, _ hasVoice: Bool?) -> String {
            LevelMeter.text(.init(sent: sent, received: received, hasVoice: hasVoice))
        }
        #expect(text(nil, nil, nil).isEmpty)
        // From -60 dB, empty, to full scale.
        #expect(text(0.0333, nil, true) == "mic ●███   ")
        #expect(text(0.0333, 1, false) == "mic ○███    in ██████")
        #expect(text(nil, 0.0001, nil) == "in       ")
        #expect(text(0, 7, nil) == "mic        in ██████")
    }

    @Test func aLevelIsTheEnergyOfATimeOverItsLength() {
        #expect(LevelMeter.Levels.level(0.5, 2) == 0.5)
        #expect(LevelMeter.Levels.level(0, 2) == 0)
        // Nothing has come since, or a counter has begun anew.
        #expect(LevelMeter.Levels.level(0, 0) == nil)
        #expect(LevelMeter.Levels.level(-1, 2) == 0)
        #expect(LevelMeter.Levels.level(-1, -2) == nil)
    }

    @Test func theCamerasOwnEncodingIsTakenOnlyIfItIsAskedFor() throws {
        #expect(try CallCommand.parse([]).videoCodec.codecs.isEmpty)
        #expect(try CallCommand.parse(["--video-codec", "h264"]).videoCodec.codecs == [.h264])
        #expect(try CallCommand.parse(["--video-codec", "camera"]).videoCodec.codecs == [.h264, .vp8])
        #expect(try #require(refusal("--video-codec", "h265")).contains("h264"))
    }

    @Test func aPortIsOneOfUDPs() throws {
        #expect(try CallCommand.parse(["--udp-port", "40000"]).udpPort == 40_000)
        #expect(try CallCommand.parse([]).udpPort == nil)
        #expect(try #require(refusal("--udp-port", "0")).contains("1 to 65535"))
        #expect(refusal("--udp-port", "65536") != nil)
        #expect(refusal("--udp-port", "-1") != nil)
    }

    @Test func aServerOfSTUNOverTLSIsRefusedWithWhatToUseInstead() throws {
        for url in ["stuns:stun.example.org", "STUNS:[2001:db8::1]"] {
            let text = try #require(refusal("--ice-server", url))
            #expect(text.contains("stun:") && text.contains("turns:") && text.contains("TCP"))
        }
        #expect(refusal("--ice-server", "stun:stun.example.org") == nil)
    }

    @Test func `The help says which keys finish a recording and which do not`() {
        let help = CallCommand.helpMessage(columns: 1_000)
        #expect(help.contains("SIGTERM and SIGHUP hang up and finish recordings"))
        #expect(help.contains("So does Ctrl-\\ (SIGQUIT)"))
    }
}
