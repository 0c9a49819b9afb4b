import PeerConnection
import TerminalUI

extension CallOutput {
    /// A device was taken away, or is back.
    func device(_ device: CallDevice, change: String, _ sentence: String) {
        tell(
            change,
            kind: device.track.kind == .video ? "videoinput" : "audioinput",
            id: device.track.getSettings().deviceId ?? "",
            name: device.track.label,
            sentence
        )
    }

    /// The same of the loudspeaker.
    func speaker(_ speaker: ALSASpeaker, change: String, _ sentence: String) {
        tell(change, kind: "audiooutput", id: speaker.name, name: speaker.name, sentence)
    }

    private func tell(_ change: String, kind: String, id: String, name: String, _ sentence: String) {
        guard isJSON else { return say(sentence) }
        var line = JSONLine(event: "device")
        line["change"] = .string(change)
        line["kind"] = .string(kind)
        line["id"] = .string(id)
        line["name"] = .string(name)
        line["message"] = .string(sentence)
        Terminal.standardOutput.write(line.text)
    }
}
