import FileTransfer
import Glibc
import PeerConnection

/// Runs a transfer over one connection after another until it has come to its end.
enum TransferRun {
    /// How a transfer ended.
    enum Outcome: Sendable {
        case finished(TransferSummary)
        case interrupted
    }

    /// What a side can cure by itself, and then come again: it was stopped, its disk is full, and the like.
    static func canComeAgain(after error: TransferError) -> Bool {
        let curable: [TransferError.Code] = [
            .channelClosed, .cancelled, .noSpace, .accessDenied, .readOnly, .fileTooLarge, .system,
        ]
        return !error.isRefusal && curable.contains(error.code)
    }

    /// How long a receiver that has all is there for a sender that was killed before it knew that, and is back already.
    private static let latecomersTime = Duration.seconds(10)

    /// - Parameters:
    ///   - meeting: gives an open channel for each connection.
    ///   - show: where the path is told.
    ///   - progress: shows it too.
    ///   - advice: how the other side comes again.
    ///   - transfer: one run of the transfer over a channel.
    /// - Returns: how it ended.
    /// - Throws: why it cannot come to its end: the meeting's or the transfer's error.
    static func run(
        _ meeting: TransferMeeting,
        show: TransferOutput,
        progress: TransferProgress,
        advice: String,
        transfer: @escaping @Sendable (RTCDataChannel) async throws(TransferError) -> TransferSummary
    ) async throws -> Outcome {
        try await withThrowingTaskGroup(of: Outcome.self) { group in
            group.addTask {
                try await finish(meeting, show: show, progress: progress, advice: advice, transfer: transfer)
            }
            group.addTask {
                for await _ in Interrupts.stream() { return .interrupted }
                // The stream ends without an element only when this task is cancelled.
                try await Task.sleep(for: .seconds(1 << 30))
                return .interrupted
            }
            defer { group.cancelAll() }
            guard let outcome = try await group.next() else { throw MeetingError.over }
            return outcome
        }
    }

    /// One connection after another, until the transfer has come to its end on both sides.
    private static func finish(
        _ meeting: TransferMeeting,
        show: TransferOutput,
        progress: TransferProgress,
        advice: String,
        transfer: @Sendable (RTCDataChannel) async throws(TransferError) -> TransferSummary
    ) async throws -> Outcome {
        // Of a run that came to its end without the other side's good-bye.
        var ended: TransferSummary?
        do {
            connections: for try await connection in meeting.connections {
                let report = await connection.link.connection.getStats()
                show.connected(report)
                try show.checkFirstLine()
                progress.setPath(TransferOutput.isRelayed(report) ? "relayed" : "direct")
                switch await result(of: transfer, over: connection.channel) {
                case .success(let summary) where summary.isAcknowledged:
                    await connection.channel.closeGracefully()
                    return .finished(ended ?? summary)
                case .success(let summary):
                    ended = ended ?? summary
                    let isAwaited = await meeting.awaitLatecomer(after: connection, for: latecomersTime)
                    if !isAwaited { break connections }
                case .failure(let error) where error.code == .channelClosed:
                    if await meeting.giveUp(connection), ended == nil {
                        show.waits(advice, since: "The connection broke; making it again.")
                    }
                case .failure(let error) where error.isFromPeer && canComeAgain(after: error):
                    let isAsked = error.code == .cancelled
                    show.waits(
                        advice,
                        since: "The other side \(isAsked ? "was stopped" : "has stopped: \(error.message)")."
                    )
                    _ = await meeting.giveUp(connection)
                case .failure(let error):
                    // Why it ends is told behind what was sent before. This task may be cancelled, that one is not.
                    if !error.isFromPeer {
                        await Task { await connection.channel.closeGracefully(within: .seconds(1)) }.value
                    }
                    throw error
                }
            }
        } catch {
            // All is here; what became of the other side changes nothing.
            guard let ended else { throw error }
            return .finished(ended)
        }
        guard let ended else { throw MeetingError.over }
        return .finished(ended)
    }

    private static func result(
        of transfer: (RTCDataChannel) async throws(TransferError) -> TransferSummary,
        over channel: RTCDataChannel
    ) async -> Result<TransferSummary, TransferError> {
        do throws(TransferError) { return .success(try await transfer(channel)) } catch { return .failure(error) }
    }
}

/// How `rtc-peer send` and `rtc-peer receive` end, for scripts.
enum TransferExit {
    /// Some files did not go through.
    static let partial: Int32 = 2
    /// Ctrl-C: the same command goes on where it was.
    static let interrupted: Int32 = 130
}
