import Foundation
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
        #expect(lines.dropLast().last?.contains(#""name":"c","bytes":450,"total":453,"of":1073"#) == true)
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
