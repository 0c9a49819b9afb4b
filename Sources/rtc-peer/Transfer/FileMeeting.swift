import ArgumentParser
import FileTransfer
import Glibc
import PAKE
import PeerConnection
import Signaling
import TerminalUI

/// How those who move files meet: one prints a code, the other was told it; either may be the one who sends.
struct FileMeeting: Sendable {
    /// What this side does with files.
    enum Work: Sendable { case sends, receives }

    typealias Transfer = @Sendable (RTCDataChannel) async throws(TransferError) -> TransferSummary

    let work: Work
    let options: MeetingOptions
    let show: TransferOutput
    let progress: TransferProgress
    /// How long to wait for the other side, at first and whenever it was lost; nil: as long as usual, or for ever.
    let patience: Duration?
    /// Absolute paths of what is sent, or of the folder that files go into, to be remembered; nil for a stream, which
    /// cannot be gone on with.
    let paths: [String]?
    /// What happens to received files whose names are taken, to be remembered.
    var existing = FileReceiver.Existing.refuse
    /// One run of the transfer over a channel.
    let transfer: Transfer

    /// Codes that may be tried in vain, the last of which ends the program.
    private static let codeLimit = 5

    private var verb: String {
        switch work {
        case .sends: "sent"
        case .receives: "received"
        }
    }

    // MARK: Printing a code

    /// Opens a place, prints its code, and moves files with who comes by it.
    ///
    /// - Parameters:
    ///   - listen: where a server of our own listens.
    ///   - memory: what is gone on with, if anything.
    /// - Throws: why it did not come to its end, or the exit status to end with.
    func open(listen: ListenAddress, memory: TransferMemory?) async throws {
        // A mistyped code costs a new one; somebody who goes on guessing gets no more tries.
        for _ in 1..<Self.codeLimit {
            do {
                return try await openOnce(listen: listen, memory: memory)
            } catch MeetingError.codeWasGuessed {
                show.problem("Somebody tried a wrong code, or went away: that code is void. Here is a new one.")
            } catch MeetingError.roomFull where memory == nil {
                // Nobody was told this code.
            }
        }
        try await openOnce(listen: listen, memory: memory)
    }

    private func openOnce(listen: ListenAddress, memory: TransferMemory?) async throws {
        let code = memory?.code ?? TransferCode { Int.random(in: $0) }
        let kind: TransferMemory.Kind = work == .sends ? .send : .receiveHere
        let lock = try await TransferLock.take(kind, code)
        defer { lock?.release() }
        var options = options
        options.serverURL = options.serverURL ?? memory?.server
        options.serverFingerprint = options.serverFingerprint ?? memory?.serverFingerprint
        let place = try await openPlace(code, options, listen: listen, before: memory?.port)
        let server = options.serverURL
        let (work, show) = (work, show)
        let outcome = await meet(
            .first,
            code: code,
            server: place.serverURL,
            options: options,
            patience: patience,
            memory: TransferMemory(
                kind: kind,
                code: code,
                resumption: memory?.resumption ?? [],
                server: server,
                serverFingerprint: options.serverFingerprint,
                port: place.port,
                paths: paths ?? [],
                existing: existing
            ),
            joined: {
                switch work {
                case .sends: show.ready(place, command: "receive", takesBrowser: true)
                case .receives: show.ready(place, command: "send --to", example: " FILE…", takesBrowser: true)
                }
                show.drawAddress(place)
                try show.checkFirstLine()
            }
        )
        await place.close()
        try end(outcome, kind, code, again: "rtc-peer \(work == .sends ? "send" : "receive") --resume \(code)")
    }

    /// Opens the place where it was before, since the other side, if it still runs, looks for us there.
    private func openPlace(
        _ code: TransferCode,
        _ options: MeetingOptions,
        listen: ListenAddress,
        before: Int?
    ) async throws -> MeetingPlace {
        if let before, listen.port == 0, options.serverURL == nil {
            let address = ListenAddress(host: listen.host, port: before)
            // A process that was killed holds its port for some moments.
            let end = ContinuousClock.now + .seconds(2)
            while ContinuousClock.now < end {
                do {
                    return try await MeetingPlace.open(
                        code: code,
                        options: options,
                        listen: address,
                        note: show.problem
                    )
                } catch let error as SignalingError where error.code == .addressInUse {
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
            show.problem(
                "Port \(before), where this machine was found before, is taken: the other side has to look anew, by the same command."
            )
        }
        return try await MeetingPlace.open(code: code, options: options, listen: listen, note: show.problem)
    }

    // MARK: Being told a code

    /// Looks for the place of a code or address, and moves files with who printed it.
    ///
    /// - Parameter text: the code or address.
    /// - Throws: why it did not come to its end, or the exit status to end with.
    func join(_ text: String) async throws {
        let kind: TransferMemory.Kind =
            switch work {
            case .sends: .sendTo
            case .receives: .receive
            }
        let code = try MeetingPlace.read(text, server: nil).code
        let lock = try await TransferLock.take(kind, code)
        defer { lock?.release() }
        let memory = TransferMemory.load(kind, code)
        let start = ContinuousClock.now
        let limit = patience ?? (memory == nil ? SearchOptions.usual : nil)
        let server = try await MeetingPlace.find(
            text,
            server: options.serverURL,
            known: memory?.server,
            patience: patience ?? SearchOptions.usual,
            show: show
        ).server
        // Nobody may be there: it was broken off.
        if memory != nil { show.waits(advice(.second, code)) }
        var options = options
        options.serverFingerprint =
            options.serverFingerprint ?? (memory?.server == server ? memory?.serverFingerprint : nil)
        let outcome = await meet(
            .second,
            code: code,
            server: server,
            options: options,
            patience: limit.map { max($0 - (.now - start), .seconds(1)) },
            memory: TransferMemory(
                kind: kind,
                code: code,
                resumption: memory?.resumption ?? [],
                server: server,
                serverFingerprint: options.serverFingerprint,
                existing: existing
            )
        )
        try end(outcome, kind, code, again: "the same command again")
    }

    // MARK: Both

    private func meet(
        _ side: TransferMeeting.Side,
        code: TransferCode,
        server: String,
        options: MeetingOptions,
        patience: Duration?,
        memory: TransferMemory,
        joined: @escaping @Sendable () throws -> Void = {}
    ) async -> Result<TransferRun.Outcome, any Error> {
        let isStream = paths == nil
        let (show, progress, transfer) = (show, progress, transfer)
        let advice = advice(side, code)
        return await Result {
            let running = try RunningMeeting.start(
                side,
                code: code,
                resumption: memory.resumption.isEmpty ? nil : memory.resumption,
                server: server,
                options: options,
                patience: patience,
                patienceAgain: self.patience,
                joined: joined,
                paired: { resumption in
                    if !isStream {
                        var memory = memory
                        memory.resumption = resumption
                        if !memory.save() {
                            show.problem("Nothing can be remembered here: if this program is stopped, it cannot go on.")
                        }
                    }
                    show.paired()
                },
                note: show.problem,
                waits: { show.waits($0) }
            )
            let outcome = await Result {
                try await TransferRun.run(
                    running.meeting,
                    show: show,
                    progress: progress,
                    advice: advice,
                    transfer: transfer
                )
            }
            var isDone = false
            if case .success(.finished) = outcome { isDone = true }
            let isForGood = isDone || isForGood(outcome)
            await running.end(isForGood: isForGood, isDone: isDone)
            if isForGood || Self.isOver(outcome) { TransferMemory.forget(memory.kind, memory.code) }
            return try outcome.get()
        }
    }

    /// How the other side goes on if its program has ended.
    private func advice(_ side: TransferMeeting.Side, _ code: TransferCode) -> String {
        let command =
            switch (work, side) {
            case (.sends, .first): "receive \(code)"
            case (.sends, .second): "receive --resume \(code)"
            case (.receives, .first): "send --to \(code) FILE…"
            case (.receives, .second): "send --resume \(code)"
            }
        let limit = patience.map { " for \(Amount.clock($0)) at most" } ?? ""
        return
            "Waiting\(limit) for the other machine; if rtc-peer has ended there, this goes on there: rtc-peer \(command)"
    }

    /// Whether the other side need not wait for this one to come again.
    private func isForGood(_ outcome: Result<TransferRun.Outcome, any Error>) -> Bool {
        if paths == nil || progress.hasStream { return true }
        if case .failure(let error as TransferError) = outcome { return !TransferRun.canComeAgain(after: error) }
        return false
    }

    /// Whether the other side will not come again.
    private static func isOver(_ outcome: Result<TransferRun.Outcome, any Error>) -> Bool {
        if case .failure(MeetingError.ended) = outcome { true } else { false }
    }

    private func end(
        _ outcome: Result<TransferRun.Outcome, any Error>,
        _ kind: TransferMemory.Kind,
        _ code: TransferCode,
        again: String
    ) throws {
        let isKept = TransferMemory.load(kind, code) != nil
        if case .success(.finished(let summary)) = outcome {
            progress.summarise(summary)
        } else {
            progress.summarise(nil)
        }
        if case .failure(MeetingError.stayedAway) = outcome, isKept {
            throw MeetingError.connection("the other side has not come again in time; to go on: \(again)")
        }
        if case .failure(let error as TransferError) = outcome, error.isRefusal { throw Self.ofRefusal(error) }
        switch try outcome.get() {
        case .finished(let summary):
            show.ended(summary, verb: verb)
            if !summary.failures.isEmpty { throw ExitCode(TransferExit.partial) }
        case .interrupted:
            let next =
                progress.hasStream
                ? "; a stream cannot be gone on with: start it anew" : isKept ? "; to go on: \(again)" : ""
            show.ended("interrupted" + next)
            throw ExitCode(TransferExit.interrupted)
        }
    }

    /// Whose reason it is, and what comes of it.
    static func ofRefusal(_ error: TransferError) -> TransferError {
        var told = error
        let words = error.message
        told.message =
            error.isFromPeer
            ? "the other machine takes nothing of it: \(words). The code is used up: send it anew, for a new code"
            : "\(words). Nothing was received, and the code is used up: ask for a new one"
        return told
    }

    /// A path that stays right when it is read in another directory.
    static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let directory = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(directory) }
        return unsafe String(cString: directory) + "/" + path
    }
}
