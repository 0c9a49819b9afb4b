import ArgumentParser
import FileTransfer
import PAKE
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

    /// An option that nobody knows is why the file is missing.
    @Test(
        arguments: [
            ["send", "-x"], ["send", "--over"], ["forward", "-x"], ["forward", "4821-amber-otter-lemon", "-x"],
        ]
    )
    func anUnknownOptionIsToldAsSuch(arguments: [String]) throws {
        let error = #expect(throws: (any Error).self) { try RTCPeerCommand.parsed(arguments) }
        let words = RTCPeerCommand.message(for: try #require(error))
        #expect(words.contains("Unknown option '\(arguments.last ?? "")'"), "\(words)")
    }

    @Test func whatIsMissingIsToldOtherwise() throws {
        let error = #expect(throws: (any Error).self) { try RTCPeerCommand.parsed(["send"]) }
        #expect(RTCPeerCommand.message(for: try #require(error)).contains("name a file to send"))
        #expect(try RTCPeerCommand.parsed(["send", "a"]) is SendCommand)
    }

    /// What was chosen when a transfer began holds when it goes on, unless something else is said.
    @Test func whatWasChosenForTakenNamesIsRemembered() throws {
        var memory = TransferMemory(
            kind: .receive,
            code: try #require(TransferCode("4821-amber-otter-lemon")),
            resumption: []
        )
        let (plain, renaming) = (try ReceiveCommand.parse([]), try ReceiveCommand.parse(["--rename"]))
        #expect(plain.existing(after: nil) == .refuse && renaming.existing(after: nil) == .rename)
        memory.existing = .overwrite
        #expect(plain.existing(after: memory) == .overwrite && renaming.existing(after: memory) == .rename)
    }

    @Test func whatIsNamedIsTaken() throws {
        #expect(try SendCommand.parse(["a", "."]).files == ["a", "."])
        #expect(try ReceiveCommand.parse(["--into", ".", "4821-amber-otter-lemon"]).into == ".")
        #expect(try ReceiveCommand.parse([]).code == nil)
        #expect(try SendCommand.parse(["--name", "x", "-"]).name == "x")
    }
}
