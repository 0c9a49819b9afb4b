internal import Locking

/// Receives files from a channel into a directory; run again over another channel, it goes on where it was.
public final class FileReceiver: Sendable {
    /// What happens to a file whose name is taken.
    public enum Existing: Sendable, Hashable {
        /// It is not received; the sender is told.
        case refuse
        /// It takes the place of what is there, once it is complete.
        case overwrite
        /// It gets a number: `report (1).pdf`.
        case rename
    }

    /// How files are received.
    public struct Options: Sendable {
        /// What happens to a file whose name is taken.
        public var existing = Existing.refuse
        /// What is taken at most.
        public var limits = TransferLimits()
        /// Asked before an offer is accepted; nil takes it, else the reason in words.
        public var refusal: @Sendable (TransferOffer) async -> String? = { _ in nil }
        /// Told what happens, on the transfer's thread.
        public var onEvent: @Sendable (TransferEvent) -> Void = { _ in }

        /// Bytes of a file after which what is written is made safe, recorded and acknowledged; smaller in tests.
        package var syncBytes = 64 << 20

        /// The usual options.
        public init() {}
    }

    /// Received bytes that may wait for the disk before the channel is no longer read.
    private static let queueBytes = 4 << 20
    /// What a message counts beside its bytes.
    private static let messageOverhead = 256

    private let destination: ReceiverDisk.Destination
    private let options: Options
    /// Whether a part was written to a stream: it cannot be taken back.
    private let isStreamBegun = Mutex(false)

    /// Receives into a directory.
    ///
    /// - Parameters:
    ///   - target: an existing directory.
    ///   - options: how files are received.
    public init(target: String, options: Options = Options()) {
        destination = .directory(target)
        self.options = options
    }

    /// Receives one file and writes it to a descriptor, such as the standard output, as it comes.
    ///
    /// Nothing can be taken back: a damaged block fails the transfer, and it cannot be resumed.
    ///
    /// - Parameters:
    ///   - descriptor: is written, not closed.
    ///   - options: how the file is received.
    public init(streamTo descriptor: CInt, options: Options = Options()) {
        destination = .stream(descriptor: descriptor)
        self.options = options
    }

    /// Receives what a sender offers.
    ///
    /// The channel stays open.
    ///
    /// - Parameter channel: a channel on whose other side a sender runs.
    /// - Returns: what went through and what did not.
    /// - Throws: why the transfer did not come to its end; it can be run again over a new channel.
    @discardableResult
    public func run(over channel: some TransferChannel) async throws(TransferError) -> TransferSummary {
        let thread = try DiskThread(name: "file-receiver")
        defer { thread.stop() }
        let disk = try ReceiverDisk(destination: destination, options: options, thread: thread)
        let queue = BoundedQueue<TransferMessage>(limit: Self.queueBytes)
        let limits = options.limits
        do throws(TransferError) {
            try await TransferTasks.run(over: channel) { () async throws(TransferError) in
                if self.isStreamBegun.withLock({ $0 }) {
                    throw TransferError(
                        .notResumable,
                        "a part was written already, and cannot be taken back: receive it anew"
                    )
                }
                for await message in channel.incoming {
                    guard await queue.push(message, cost: message.byteCount + Self.messageOverhead) else { return }
                }
                queue.finish()
            } main: { () async throws(TransferError) in
                let hello = ControlMessage.hello(isSender: false, version: ControlMessage.version, limits: limits)
                var isOpen = try await Self.send([.text(hello.text)], over: channel)
                while let messages = await queue.popAll() {
                    let answers = try await disk.receive(messages)
                    // What has come is worth keeping, even if nobody hears the answers any more.
                    if isOpen { isOpen = try await Self.send(answers, over: channel) }
                    if await disk.isFinished {
                        queue.finish()
                        return
                    }
                }
                // The sender may have gone without a good-bye once it knew that all is done.
                if await !disk.hasSentFinished { throw .channelEnded }
            } judging: { error in
                if await disk.refusesOffer(error) { return error.asRefusal() }
                guard await disk.holdsStream else { return error }
                if case .stream = self.destination { self.isStreamBegun.withLock { $0 = true } }
                return error.ofStream()
            }
        } catch {
            await disk.leave()
            throw error
        }
        var summary = await disk.summary
        summary.isAcknowledged = await disk.isFinished
        return summary
    }

    /// Sends answers.
    ///
    /// - Returns: false if the channel is closed.
    private static func send(
        _ messages: [TransferMessage],
        over channel: some TransferChannel
    ) async throws(TransferError) -> Bool {
        do throws(TransferError) {
            for message in messages { try await channel.send(message) }
            return true
        } catch {
            guard error.code == .channelClosed else { throw error }
            return false
        }
    }
}
