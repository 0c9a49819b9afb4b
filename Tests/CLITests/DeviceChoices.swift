import ArgumentParser
import Foundation
import NullSound
import PeerConnection
import Testing

@testable import rtc_peer

/// What a call takes where devices are named or not, and what `rtc-peer devices` says of that.
@Suite struct DeviceChoices {
    init() { ALSAConfiguration.use() }

    @Test func `A call takes ALSA's default though that lists others alone, and so does a trial`() async throws {
        let listed = await MediaDevices.shared.enumerateDevices().filter { $0.kind != .videoinput }
        #expect(listed.filter { $0.kind == .audioinput }.map(\.systemName) == ["default", "pulse"])
        #expect(listed.filter { $0.kind == .audiooutput }.map(\.systemName) == ["default", "pulse"])
        let call = try await CallDevice.open(.audio, MediaTrackConstraints())
        #expect(call.track.microphoneName == "default")
        call.track.stop()
        #expect(try await CallDevices.microphone(nil).name == "default")
        #expect(try await CallDevices.microphone("pulse").name == "pulse")
        #expect(try CallDevices.speaker(nil).device?.name == "default")
    }

    @Test func `What is named is what is told of, with the reason`() async throws {
        let microphone = try await DeviceChoice.microphone("pulse")
        #expect(microphone.text == "A call takes the microphone pulse: named by --microphone")
        #expect(try DeviceChoice.speaker("pulse")?.text == "A call takes the loudspeaker pulse: named by --speaker")
        #expect(try await DeviceChoice.microphone(nil).name == "default")
    }

    @Test(arguments: [["--camera", "no such camera"], ["--microphone", "nowhere"], ["--speaker", "nowhere"]])
    func `What is named and not there ends as in a call`(arguments: [String]) async throws {
        // The error of a call, as it is written.
        let call = try CallCommand.parse(arguments)
        let options = CallMediaOptions(
            video: call.camera == nil ? .none : .camera,
            audio: call.microphone == nil ? .none : .microphone,
            isLooping: false,
            camera: call.camera,
            microphone: call.microphone,
            speaker: call.speaker,
            playsSound: call.speaker != nil,
            sound: call.sound
        )
        let refusal = await #expect(throws: (any Error).self) { _ = try await options.open() }
        let devices = try DevicesCommand.parse(arguments)
        var told: [String] = []
        do {
            _ = try await DeviceChoice.camera(devices.camera, size: PictureSize())
        } catch {
            if devices.camera != nil { told.append("\(error)") }
        }
        do { _ = try await DeviceChoice.microphone(devices.microphone) } catch { told.append("\(error)") }
        do { _ = try DeviceChoice.speaker(devices.speaker) } catch { told.append("\(error)") }
        #expect(try told == ["\(#require(refusal))"])
        // The command's status.
        #expect(await !devices.showChoices())
        #expect(try await DevicesCommand.parse([]).showChoices())
    }

    @Test func `What is listed and cannot be opened is told of, with the reason`() async throws {
        let result = try await #require(processExitsWith: .success, observing: [\.standardOutputContent]) {
            // As of a machine with the plug-in for a sound server that does not run.
            let path = FileManager.default.temporaryDirectory.path + "/alsa-\(getpid()).conf"
            defer { try? FileManager.default.removeItem(atPath: path) }
            let text = """
                pcm.default { type hw card 31 }
                pcm.pulse { type plug slave.pcm "pulse" hint { show on description "Listed" } }
                """
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            setenv("ALSA_CONFIG_PATH", path, 1)
            try await DevicesCommand.parse(["--json"]).run()
        }
        let lines = String(decoding: result.standardOutputContent, as: UTF8.self).split(separator: "\n")
        for noun in ["microphone", "loudspeaker"] {
            #expect(lines.contains { $0.hasPrefix(#"{"event":"\#(noun)","name":"pulse""#) })
            let told = lines.filter {
                $0.hasPrefix(#"{"event":"error""#) && $0.contains("a call takes no \(noun) of these")
            }
            #expect(told.count == 1 && told.first?.contains("Invalid argument") == true, "\(lines)")
        }
    }

    @Test func `Why a sound device is taken is said of all that were tried`() {
        let cards = ["default", "plughw:CARD=A,DEV=0", "plughw:CARD=B,DEV=0"]
        #expect(DeviceChoice.soundReason("default", among: cards).contains("there is no sound server"))
        #expect(
            DeviceChoice.soundReason("plughw:CARD=B,DEV=0", among: cards)
                == "the first that can be opened; default, plughw:CARD=A,DEV=0 cannot"
        )
        #expect(DeviceChoice.soundReason("default", among: cards + ["pulse"]) == "the system's default")
    }
}
