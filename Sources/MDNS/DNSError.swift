/// Why a datagram is no message that is read here.
package enum DNSError: Error, Hashable, Sendable {
    /// It ends within its header, a question or a record.
    case truncated
    /// It is longer than messages of multicast DNS may be.
    case tooLong(byteCount: Int)
    /// It has more questions and records than are read.
    case tooManyEntries(count: Int)
    /// A name has a reserved length, is too long, or points to nowhere or ahead; `offset` is where reading it stopped.
    case malformedName(offset: Int)
    /// An A or AAAA record has another length than its address.
    case malformedAddress(byteCount: Int)
    /// Another operation than a query, or a response that tells an error.
    case unsupported(flags: UInt16)
}
