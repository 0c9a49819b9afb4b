import FileTransfer
import Testing

@testable import rtc_peer

@Suite struct TransferEvents {
    /// docs/JSON-LINES.md promises `file` with `state`, `code` and `message`.
    @Test func whatIsLeftOutIsAFileThatFailed() async throws {
        let result = await #expect(
            processExitsWith: .success,
            observing: [\.standardOutputContent]
        ) {
            let progress = TransferProgress(TransferOutput(isJSON: true), verb: "sending")
            progress.take(.leftOut(name: "d/pipe", TransferError(.unsupportedKind, "it is a pipe")))
        }
        let text = String(decoding: try #require(result).standardOutputContent, as: UTF8.self)
        let line =
            #"{"event":"file","name":"d/pipe","state":"failed","code":"unsupported-kind","message":"it is a pipe"}"#
        #expect(text.contains(line + "\n") && !text.contains(#""error""#))
    }
}
