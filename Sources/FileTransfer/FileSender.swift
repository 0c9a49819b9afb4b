internal import Glibc
internal import Locking

/// Sends files, directories or a stream over a channel; run again over another channel, it goes on where it was.
public final class FileSender: Sendable {
    /// How files are sent.
    public struct Options: Sendable {
        /// Whether SHA-256 of each whole file is sent and checked too, as `sha256sum` prints it.
        ///
        /// Every file is checked by the root of its hash chain anyway; this is a second pass of hashing at both ends.
        public var includesFileDigests = false
        /// Told what happens, on the transfer's thread.
        public var onEvent: @Sendable (TransferEvent) -> Void = { _ in }

        /// The usual options.
        public init() {}
    }

    private let source: SenderDisk.Source
    private let options: Options
    /// Whether a stream's reading has begun, or its writing there: it cannot begin once more.
    private let isStreamBegun = Mutex(false)

    /// Sends files and directories with all that is in them.
    ///
    /// A symbolic link that is named here is followed; those in directories are sent as links.
    ///
    /// - Parameters:
    ///   - paths: files and directories; each appears at the receiver under its last component.
    ///   - options: how they are sent.
    public init(paths: [String], options: Options = Options()) {
        source = .paths(paths)
        self.options = options
    }

    /// Sends what can be read from a descriptor, such as the standard input, until its end.
    ///
    /// What was read once is gone: such a transfer cannot be resumed, and fails as `notResumable`.
    ///
    /// - Parameters:
    ///   - descriptor: is read, not closed.
    ///   - name: what the receiver calls it.
    ///   - options: how it is sent.
    public init(streamFrom descriptor: CInt, name: String, options: Options = Options()) {
        source = .stream(descriptor: descriptor, name: name)
        self.options = options
    }

    private enum Signal: Sendable {
        case makeOffer(TransferLimits)
        case start
        case finished
    }

    /// Sends all that the receiver does not have yet.
    ///
    /// Looks at the files anew each time. The channel stays open.
    ///
    /// - Parameter channel: a channel on whose other side a receiver runs.
    /// - Returns: what went through and what did not.
    /// - Throws: why the transfer did not come to its end; it can be run again over a new channel.
    @discardableResult
    public func run(over channel: some TransferChannel) async throws(TransferError) -> TransferSummary {
        let thread = try DiskThread(name: "file-sender")
        defer { thread.stop() }
        let disk = try SenderDisk(source: source, options: options, thread: thread)
        let signals = BoundedQueue<Signal>(limit: .max)
        try await TransferTasks.run(over: channel) { () async throws(TransferError) in
            if self.isStreamBegun.withLock({ $0 }) {
                throw TransferError(
                    .notResumable,
                    "a part of the stream has gone already: send it anew, from its start"
                )
            }
            try await self.read(from: channel, disk: disk, signals: signals)
        } main: { () async throws(TransferError) in
            try await self.send(over: channel, disk: disk, signals: signals)
        } judging: { error in
            self.isStreamBegun.withLock { $0 } ? error.ofStream() : error
        }
        return await disk.summary
    }

    private func read(
        from channel: some TransferChannel,
        disk: SenderDisk,
        signals: BoundedQueue<Signal>
    ) async throws(TransferError) {
        for await message in channel.incoming {
            switch try await disk.receive(message) {
            case .makeOffer(let limits): _ = await signals.push(.makeOffer(limits), cost: 1)
            case .start(let isStream):
                if isStream { isStreamBegun.withLock { $0 = true } }
                _ = await signals.push(.start, cost: 1)
            case .finished:
                _ = await signals.push(.finished, cost: 1)
                return
            default: break
            }
        }
        throw .channelEnded
    }

    private func send(
        over channel: some TransferChannel,
        disk: SenderDisk,
        signals: BoundedQueue<Signal>
    ) async throws(TransferError) {
        let hello = ControlMessage.hello(isSender: true, version: ControlMessage.version, limits: nil)
        try await channel.send(.text(hello.text))
        while let waiting = await signals.popAll() {
            for signal in waiting {
                switch signal {
                case .makeOffer(let limits):
                    for message in try await disk.offer(limits: limits, maxMessageSize: channel.maxMessageSize) {
                        try await channel.send(message)
                    }
                case .start:
                    if case .stream = source { isStreamBegun.withLock { $0 = true } }
                    try await Self.sendFiles(over: channel, disk: disk)
                case .finished:
                    try await channel.send(.text(ControlMessage.bye.text))
                    return
                }
            }
        }
        throw .cancelledByTask
    }

    /// While one batch is being sent, the next is read and hashed.
    private static func sendFiles(over channel: some TransferChannel, disk: SenderDisk) async throws(TransferError) {
        var batch = try await disk.nextBatch()
        while let messages = batch {
            async let following = result(of: disk)
            for message in messages { try await channel.send(message) }
            batch = try await following.get()
        }
    }

    private static func result(of disk: SenderDisk) async -> Result<[TransferMessage]?, TransferError> {
        do throws(TransferError) { return .success(try await disk.nextBatch()) } catch { return .failure(error) }
    }
}

/// The two tasks of a side: both end when the main one does or either fails, and the peer is told why.
enum TransferTasks {
    static func run(
        over channel: some TransferChannel,
        reading: @escaping @Sendable () async throws(TransferError) -> Void,
        main: @escaping @Sendable () async throws(TransferError) -> Void,
        judging: (TransferError) async -> TransferError
    ) async throws(TransferError) {
        let failure = await withTaskGroup(of: (isMain: Bool, failure: TransferError?).self) { group in
            for (isMain, work) in [(false, reading), (true, main)] {
                group.addTask {
                    do throws(TransferError) {
                        try await work()
                        return (isMain, nil)
                    } catch { return (isMain, error) }
                }
            }
            while let outcome = await group.next() {
                guard outcome.isMain || outcome.failure != nil else { continue }
                group.cancelAll()
                return outcome.failure
            }
            return nil
        }
        guard var failure else { return }
        if Task.isCancelled, !failure.isFromPeer { failure = .cancelledByTask }
        let judged = await judging(failure)
        if !failure.isFromPeer, failure.code != .channelClosed { await tell(judged, over: channel) }
        throw judged
    }

    /// Tells the peer why, if the channel takes it within a second; in a task of its own, since this may be cancelled.
    private static func tell(_ failure: TransferError, over channel: some TransferChannel) async {
        let text = (failure.isRefusal ? ControlMessage.refuse(failure) : .error(failure)).text
        let telling = Task { try? await channel.send(.text(text)) }
        let limit = Task {
            guard (try? await Task.sleep(for: .seconds(1))) != nil else { return }
            telling.cancel()
        }
        _ = await telling.value
        limit.cancel()
    }
}
