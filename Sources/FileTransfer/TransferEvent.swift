/// What an application is told while a transfer runs, on the transfer's own thread: return soon.
public enum TransferEvent: Sendable, Hashable {
    /// What there is to transfer; at the receiver before it answers.
    case offered(TransferOffer)
    /// The receiver takes the offer; as a stream: it cannot be gone on with if it breaks off.
    case accepted(asStream: Bool)
    /// An entry that cannot be sent and is left out: a device, a name that no receiver takes, a link that leads out; at the
    /// sender. The receiver hears of it as ``failed(name:_:)``.
    case leftOut(name: String, TransferError)
    /// The receiver has the beginning of a file already. One that it has whole is ``done(name:)`` with that; all those
    /// come before ``accepted(asStream:)``.
    case resumed(name: String, bytes: Int)
    /// The receiver has another beginning of the file: it is sent from its start.
    case restarted(name: String)
    /// Bytes of a file so far, and of the whole so far; at the sender sent, at the receiver written. Those of a file that
    /// fails leave the whole: before its ``failed(name:_:)`` comes this with none of its bytes.
    case progress(name: String, bytes: Int, total: Int)
    /// So many bytes of a file are safely on the receiver's disk.
    case stored(name: String, bytes: Int)
    /// A file is complete, checked, and safely on the receiver's disk.
    case done(name: String)
    /// A file is not complete: refused, changed while it was sent, damaged, left out by the sender.
    case failed(name: String, TransferError)
}

/// What a sender offers.
public struct TransferOffer: Sendable, Hashable {
    /// The name of the transfer: 64 hexadecimal digits, the same for the same kinds and paths.
    public var transfer: String
    /// All entries; directories before what is in them.
    public var entries: [TransferEntry]
    /// Regular files among them.
    public var files: Int
    /// Bytes of all files whose length is known.
    public var bytes: Int
}

/// How a transfer ended that came to its end.
public struct TransferSummary: Sendable, Hashable {
    /// Files that are complete, with those of earlier runs.
    public var files = 0
    /// Bytes of files that went over the channel in this run.
    public var bytes = 0
    /// Bytes that were not sent because the receiver had them.
    public var resumedBytes = 0
    /// What did not go through, by name; empty: all is there.
    public var failures: [Failure] = []
    /// Whether the receiver keeps parts of those, as NAME.part: offered again, they go on.
    ///
    /// Known at the receiver alone.
    public var keepsParts = false
    /// Whether the other side knows that this one has come to the end.
    ///
    /// False at a receiver whose sender went without a good-bye: it may have been killed, and offer the same again.
    public var isAcknowledged = true

    /// An entry that did not go through.
    public struct Failure: Sendable, Hashable {
        /// The path with slashes.
        public var name: String
        /// Why.
        public var error: TransferError
    }
}
