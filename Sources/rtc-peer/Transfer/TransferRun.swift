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
                for try await connection in meeting.connections {
                    let report = await connection.link.connection.getStats()
                    show.connected(report)
                    try show.checkFirstLine()
                    progress.setPath(TransferOutput.isRelayed(report) ? "relayed" : "direct")
                    do {
                        let summary = try await transfer(connection.channel)
                        await connection.channel.closeGracefully()
                        return .finished(summary)
                    } catch let error as TransferError where error.code == .channelClosed {
                        if await meeting.giveUp(connection) {
                            show.waits(advice, since: "The connection broke; making it again.")
                        }
                    } catch let error as TransferError where error.isFromPeer && canComeAgain(after: error) {
                        let isAsked = error.code == .cancelled
                        show.waits(
                            advice,
                            since: "The other side \(isAsked ? "was stopped" : "has stopped: \(error.message)")."
                        )
                        _ = await meeting.giveUp(connection)
                    } catch let error as TransferError where !error.isFromPeer {
                        // Why it ends is told behind what was sent before. This task may be cancelled, that one is not.
                        await Task { await connection.channel.closeGracefully(within: .seconds(1)) }.value
                        throw error
                    }
                }
                throw MeetingError.over
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
}

/// How `rtc-peer send` and `rtc-peer receive` end, for scripts.
enum TransferExit {
    /// Some files did not go through.
    static let partial: Int32 = 2
    /// Ctrl-C: the same command goes on where it was.
    static let interrupted: Int32 = 130
}
