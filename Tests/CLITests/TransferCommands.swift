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

    /// What would have no effect is not taken silently, and what cannot be is refused at once.
    @Test(
        arguments: [
            ["--name", "x", "a"], ["--name", "x", "a", "b"], ["--name", "a/b", "-"], ["--name", "", "-"],
            ["--name", "x", "--resume", "4821-amber-otter-lemon"],
        ]
    )
    func aNameIsForStandardInput(arguments: [String]) {
        #expect(throws: (any Error).self) { try SendCommand.parse(arguments) }
    }

    @Test(arguments: [["--into", "."], ["--overwrite"], ["--rename"], ["--resume", "4821-amber-otter-lemon"]])
    func standardOutputIsNoFile(arguments: [String]) throws {
        _ = try ReceiveCommand.parse(arguments)
        #expect(throws: (any Error).self) { try ReceiveCommand.parse(["--output", "-"] + arguments) }
    }

    @Test func whatIsNamedIsTaken() throws {
        #expect(try SendCommand.parse(["a", "."]).files == ["a", "."])
        #expect(try ReceiveCommand.parse(["--into", ".", "4821-amber-otter-lemon"]).into == ".")
        #expect(try ReceiveCommand.parse([]).code == nil)
        #expect(try SendCommand.parse(["--name", "x", "-"]).name == "x")
    }
}
