import PeerConnection
import TerminalUI

extension CallOutput {
    /// A device was taken away, or is back.
    func device(_ device: CallDevice, change: String, _ sentence: String) {
        guard isJSON else { return say(sentence) }
        var line = JSONLine(event: "device")
        line["change"] = .string(change)
        line["kind"] = .string(device.track.kind == .video ? "videoinput" : "audioinput")
        line["id"] = .string(device.track.getSettings().deviceId ?? "")
        line["name"] = .string(device.track.label)
        line["message"] = .string(sentence)
        Terminal.standardOutput.write(line.text)
    }
}
