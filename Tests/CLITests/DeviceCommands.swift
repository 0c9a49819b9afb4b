import ArgumentParser
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
}
