import ArgumentParser
import Testing

@testable import rtc_peer

@Suite struct TransferCommands {
    /// An empty text, as a script's variable without a value, never stands for the current folder.
    @Test(arguments: [[""], ["a", ""], ["--to", "", "a"], ["--resume", ""]])
    func nothingIsSentWithoutAName(arguments: [String]) {
        #expect(throws: (any Error).self) { try SendCommand.parse(arguments) }
    }

    @Test(arguments: [[""], ["--into", ""], ["--resume", ""], ["--into", "", "4821-amber-otter-lemon"]])
    func nothingIsReceivedWithoutAName(arguments: [String]) {
        #expect(throws: (any Error).self) { try ReceiveCommand.parse(arguments) }
    }

    @Test func whatIsNamedIsTaken() throws {
        #expect(try SendCommand.parse(["a", "."]).files == ["a", "."])
        #expect(try ReceiveCommand.parse(["--into", ".", "4821-amber-otter-lemon"]).into == ".")
        #expect(try ReceiveCommand.parse([]).code == nil)
    }
}
