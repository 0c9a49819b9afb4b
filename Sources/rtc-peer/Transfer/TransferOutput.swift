import FileTransfer
import Glibc
import Locking
import PeerConnection
import TerminalUI

/// What those who meet by a code show: sentences and one live line for people on standard error, or one JSON object a
/// line on standard output.
struct TransferOutput: Sendable {
    let isJSON: Bool
    let statusLine = StatusLine()
    private let firstLine = FirstLine()

    init(isJSON: Bool) { self.isJSON = isJSON }

    /// A sentence for people; not part of the JSON output.
    func say(_ sentence: String) {
        if !isJSON { statusLine.print(TerminalText.printable(sentence)) }
    }

    /// Something that does not end the transfer.
    func problem(_ message: String) {
        emit("error", ["message": .string(message)])
        say("! \(message)")
    }

    /// That the other side is waited for, how it comes again, and what has happened, if anything has.
    func waits(_ advice: String, since reason: String? = nil) {
        if let reason { emit("error", ["message": .string(reason)]) }
        emit("waiting", ["message": .string(advice)])
        say(reason.map { "! \($0) \(advice)" } ?? advice)
    }

    /// How the other side gets here.
    ///
    /// - Parameters:
    ///   - place: where we are.
    ///   - command: what the other `rtc-peer` is told before the code.
    ///   - example: what it is told after it.
    ///   - takesBrowser: whether the address opens a page that does the same.
    func ready(_ place: MeetingPlace, command: String, example: String = "", takesBrowser: Bool = false) {
        emit(
            "ready",
            [
                "code": .string("\(place.code)"), "url": .string(place.url), "server": .string(place.serverURL),
            ]
        )
        guard !isJSON else { return }
        say("The code is \(place.code)")
        say("On the other machine:  rtc-peer \(command) \(place.code)\(example)")
        say("                   or  rtc-peer \(command) '\(place.url)'\(example)")
        if takesBrowser { say("                   or  that address, from http to the end, in a browser") }
    }

    /// The address as a QR code, on a terminal that is wide enough for it.
    func drawAddress(_ place: MeetingPlace) {
        guard !isJSON else { return }
        for line in QRCode.lines(place.url, for: .standardError) { statusLine.print(line) }
    }

    /// The other side has proved that it knows the code.
    func paired() {
        emit("paired", [:])
        say("The other side knows the code.")
    }

    /// A connection is up, by this path.
    func connected(_ report: RTCStatsReport) {
        let path = Self.path(report) ?? "by an unknown path"
        emit("connected", ["path": .string(path)])
        say("Connected, \(path)")
    }

    func ended(_ reason: String) {
        if isJSON {
            emit("ended", ["reason": .string(reason)])
        } else {
            statusLine.finish(TerminalText.printable(reason.prefix(1).uppercased() + reason.dropFirst()))
        }
    }

    /// How many files went through.
    func ended(_ summary: TransferSummary, verb: String) {
        let files = summary.files == 1 ? "1 file" : "\(summary.files) files"
        var words = "\(files) \(verb), \(Amount.bytes(summary.bytes))"
        if summary.resumedBytes > 0 { words += ", \(Amount.bytes(summary.resumedBytes)) were there before" }
        if !summary.failures.isEmpty { words += "; \(summary.failures.count) did not go through" }
        if summary.keepsParts {
            words += ". What is there of them stays, as NAME.part: sent again into the same folder, it goes on"
        }
        ended(words)
    }

    /// Direct or relayed, and by which addresses.
    static func path(_ report: RTCStatsReport) -> String? {
        report.selectedCandidatePair.map { pair in
            "\(isRelayed(report) ? "relayed" : "direct"), \(pair.localAddress) to \(pair.remoteAddress)"
        }
    }

    /// Whether the path leads through a TURN server.
    static func isRelayed(_ report: RTCStatsReport) -> Bool {
        report.selectedCandidatePair.map { $0.localType == "relay" || $0.remoteType == "relay" } ?? false
    }

    func emit(_ event: String, _ members: KeyValuePairs<String, JSONLine.Value>) {
        if isJSON { emit(event, members.map { ($0, $1) }) }
    }

    func emit(_ event: String, _ members: [(String, JSONLine.Value)]) {
        guard isJSON else { return }
        var line = JSONLine(event: event)
        for (name, value) in members { line[name] = value }
        firstLine.write(line.text)
    }

    /// Ends a transfer whose events nobody gets.
    ///
    /// - Throws: ``OutputError`` if not even the first line could be written.
    func checkFirstLine() throws(OutputError) {
        if let error = firstLine.failure { throw error }
    }
}

/// Nobody gets what `--json` tells.
struct OutputError: Error, CustomStringConvertible {
    /// The system's number.
    let number: CInt
    var description: String {
        "standard output, where --json tells what happens, cannot be written: \(unsafe String(cString: strerror(number)))"
    }
}

/// Notes whether the first line of standard output got there; who closes it later wants no more of them.
private final class FirstLine: Sendable {
    private let state = Mutex<(isOut: Bool, failure: OutputError?)>((false, nil))

    var failure: OutputError? { state.withLock(\.failure) }

    func write(_ text: String) {
        let number = Terminal.standardOutput.tryToWrite(text)
        state.withLock { state in
            if !state.isOut, number != 0 { state.failure = OutputError(number: number) }
            state.isOut = true
        }
    }
}
