import Foundation
import TerminalUI
import Testing

@testable import FileTransfer
@testable import rtc_peer

/// What a transfer shows of its events; docs/JSON-LINES.md promises the members.
@Suite struct TransferEvents {
    private static func offer(_ sizes: KeyValuePairs<String, Int>) -> TransferEvent {
        let entries = sizes.map { TransferEntry(path: [$0], kind: .file(size: $1), mode: 0o644, modified: nil) }
        return .offered(
            TransferOffer(transfer: "", entries: entries, files: sizes.count, bytes: sizes.reduce(0) { $0 + $1.value })
        )
    }

    private func lines(_ output: [UInt8]) -> [Substring] {
        String(decoding: output, as: UTF8.self).split(separator: "\n")
    }

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

    @Test func theLastProgressIsShownWithAWholeRate() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let progress = TransferProgress(TransferOutput(isJSON: true), verb: "sending")
            progress.take(TransferEvents.offer(["a": 3, "b": 7]))
            progress.take(.accepted(asStream: false))
            progress.take(.progress(name: "a", bytes: 3, total: 3))
            usleep(1000)
            progress.take(.progress(name: "b", bytes: 7, total: 10))
        }
        let lines = lines(try #require(result).standardOutputContent)
        let last = try #require(lines.last { $0.contains(#""progress""#) })
        #expect(last.contains(#""name":"b","bytes":7,"total":10,"of":10,"rate":"#))
        #expect(last.firstMatch(of: /"rate":[1-9][0-9]*}$/) != nil, "\(last)")
    }

    /// Ctrl-C: the summary of how far it came, after the progress that nobody was shown yet.
    @Test func whatDidNotComeToItsEndIsSummarised() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let progress = TransferProgress(TransferOutput(isJSON: true), verb: "sending")
            progress.summarise(nil)
            progress.take(TransferEvents.offer(["a": 3, "b": 70, "c": 1000]))
            progress.take(.resumed(name: "a", bytes: 3))
            progress.take(.done(name: "a"))
            progress.take(.failed(name: "b", TransferError(.exists, "b exists already")))
            progress.take(.accepted(asStream: false))
            progress.take(.resumed(name: "c", bytes: 400))
            progress.take(.progress(name: "c", bytes: 450, total: 453))
            progress.summarise(nil)
        }
        let lines = lines(try #require(result).standardOutputContent)
        #expect(lines.count { $0.contains(#""summary""#) } == 1)
        #expect(
            lines.last == #"{"event":"summary","files":1,"bytes":50,"resumedBytes":403,"failures":1}"#
        )
        #expect(lines.dropLast().last?.contains(#""name":"c","bytes":450,"total":453,"of":1003"#) == true)
        #expect(lines.contains(#"{"event":"file","name":"a","state":"done","bytes":3}"#))
    }

    /// On a terminal and in a log: many files that are there take one line, and no rate is told before there is one.
    @Test func peopleAreToldOfAllThatIsThereInOneLine() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let progress = TransferProgress(TransferOutput(isJSON: false), verb: "receiving")
            // The same once more: each connection begins anew.
            for _ in 0..<2 {
                progress.take(TransferEvents.offer(["a": 300, "b": 700, "c": 3000]))
                for (name, bytes) in ["a": 300, "b": 700] as KeyValuePairs {
                    progress.take(.resumed(name: name, bytes: bytes))
                    progress.take(.done(name: name))
                }
                progress.take(.accepted(asStream: false))
                progress.take(.resumed(name: "c", bytes: 1000))
                progress.take(.progress(name: "c", bytes: 1001, total: 2001))
            }
            usleep(250_000)
            progress.take(.progress(name: "c", bytes: 1400, total: 2400))
        }
        let lines = lines(try #require(result).standardErrorContent)
        #expect(
            lines.filter { $0.contains("there") }.map { String($0) } == [
                "2 files are there already, 1.00 kB", "Going on with c: 1.00 kB are there",
                "2 files are there already, 1.00 kB", "Going on with c: 1.00 kB are there",
            ]
        )
        let shown = lines.filter { $0.hasPrefix("receiving · ") }
        #expect(
            shown.count == 1 && shown[0].contains("60 % · ") && shown[0].contains(" · file 3 of 3 · c 47 %"),
            "\(shown)"
        )
        #expect(!shown[0].contains(" 0 B/s"), "\(shown)")
    }

    /// What was there, and the time it took to look at it, say nothing of how long the rest takes.
    @Test func theTimeLeftIsThatOfThisRun() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let progress = TransferProgress(TransferOutput(isJSON: false), verb: "receiving")
            let start = ContinuousClock.now
            progress.take(TransferEvents.offer(["a": 100_500]), at: start)
            progress.take(.accepted(asStream: false), at: start)
            // Two seconds of looking at what is there; then 1000 bytes a second.
            progress.take(.resumed(name: "a", bytes: 40_000), at: start + .seconds(2))
            progress.take(.progress(name: "a", bytes: 40_500, total: 40_500), at: start + .milliseconds(2500))
            // A log has a line of figures each ten seconds.
            progress.take(.progress(name: "a", bytes: 51_000, total: 51_000), at: start + .seconds(13))
        }
        let shown = lines(try #require(result).standardErrorContent).filter { $0.hasPrefix("receiving · ") }
        #expect(shown.count == 2, "\(shown)")
        #expect(shown.first?.contains("B/s") == false && shown.first?.contains("left") == false, "\(shown)")
        #expect(shown.last?.contains(" · 1.00 kB/s · 0:49 left") == true, "\(shown)")
    }

    /// What failed is no longer awaited, and its bytes do not count: in the end all is there.
    @Test func whatFailedLeavesTheTotal() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let progress = TransferProgress(TransferOutput(isJSON: true), verb: "sending")
            let start = ContinuousClock.now
            progress.take(TransferEvents.offer(["a": 300, "b": 500, "c": 200]), at: start)
            progress.take(.accepted(asStream: false), at: start)
            progress.take(.progress(name: "a", bytes: 300, total: 300), at: start + .seconds(1))
            progress.take(.progress(name: "b", bytes: 400, total: 700), at: start + .seconds(2))
            progress.take(.progress(name: "b", bytes: 0, total: 300), at: start + .seconds(2))
            progress.take(.failed(name: "b", TransferError(.changed, "b changed")), at: start + .seconds(2))
            // Once more: it was taken out already.
            progress.take(.failed(name: "b", TransferError(.changed, "b changed")), at: start + .seconds(2))
            progress.take(.progress(name: "c", bytes: 200, total: 500), at: start + .seconds(3))
            progress.summarise(nil, at: start + .seconds(3))
        }
        let lines = lines(try #require(result).standardOutputContent)
        let last = try #require(lines.last { $0.contains(#""progress""#) })
        #expect(last.contains(#""name":"c","bytes":200,"total":500,"of":500,"rate":"#), "\(last)")
        #expect(!lines.contains { $0.contains(#""rate":-"#) })
        // All that went over, with what was in vain.
        #expect(lines.last?.contains(#""bytes":900,"#) == true, "\(lines.last ?? "")")
    }

    /// Nobody would ever learn the code.
    @Test func whoCannotWriteItsFirstLineEnds() async throws {
        await #expect(processExitsWith: .success) {
            let full = open("/dev/full", O_WRONLY)
            #expect(dup2(full, STDOUT_FILENO) == STDOUT_FILENO)
            let show = TransferOutput(isJSON: true)
            show.emit("ready", ["code": "4821-amber-otter-lemon"])
            let error = #expect(throws: OutputError.self) { try show.checkFirstLine() }
            #expect(error.map { "\($0)".contains("No space left on device") } == true)
        }
    }

    /// Whoever reads some lines and leaves, as `head` does, wants no more of them.
    @Test func whoLosesItsReaderLaterGoesOn() async throws {
        await #expect(processExitsWith: .success) {
            signal(SIGPIPE, SIG_IGN)
            var ends: [CInt] = [0, 0]
            #expect(pipe(&ends) == 0 && dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO)
            let show = TransferOutput(isJSON: true)
            show.emit("ready", [:])
            close(ends[0])
            show.emit("paired", [:])
            #expect(throws: Never.self) { try show.checkFirstLine() }
        }
    }

    /// Neither waits for the other after a refusal, whose reason and outcome are told.
    @Test func aRefusalIsTheEnd() {
        var error = TransferError(.noSpace, "there is room for 5 bytes")
        #expect(TransferRun.canComeAgain(after: error))
        error.isRefusal = true
        #expect(!TransferRun.canComeAgain(after: error))
        #expect(FileMeeting.ofRefusal(error).message.hasPrefix("there is room for 5 bytes. Nothing was received"))
        error.isFromPeer = true
        let told = FileMeeting.ofRefusal(error)
        #expect(told.code == .noSpace && told.message.contains("takes nothing of it: there is room for 5 bytes."))
        #expect(told.message.contains("code is used up"))
    }

    @Test func whatStaysOfAFileIsTold() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            var summary = TransferSummary()
            summary.failures = [.init(name: "a", error: TransferError(.exists, ""))]
            TransferOutput(isJSON: false).ended(summary, verb: "received")
            summary.keepsParts = true
            TransferOutput(isJSON: false).ended(summary, verb: "received")
        }
        let lines = lines(try #require(result).standardErrorContent)
        #expect(lines.map { $0.contains("NAME.part: sent again into the same folder, it goes on") } == [false, true])
    }
}
