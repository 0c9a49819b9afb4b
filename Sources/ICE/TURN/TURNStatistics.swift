/// Counters of a TURN client since it was made.
package struct TURNStatistics: Hashable, Sendable {
    package var requestsSent = 0
    package var retransmissionsSent = 0
    /// Authentic ones, and those that need no integrity.
    package var responsesReceived = 0
    /// Datagrams of the owner that left as ChannelData.
    package var channelDataSent = 0
    /// Datagrams of the owner that left as Send indications.
    package var indicationsSent = 0
    package var channelDataReceived = 0
    package var indicationsReceived = 0
    package var keepalivesSent = 0
    package var dropped = TURNDropCounts()
}

/// What a TURN client did not use, by reason.
package struct TURNDropCounts: Hashable, Sendable {
    /// Not from the server's address, or on another socket.
    package var wrongAddress = 0
    /// Neither STUN nor ChannelData, or structure, length or fingerprint wrong.
    package var malformed = 0
    /// Requests and indications that no server sends.
    package var unexpected = 0
    /// Responses to nothing that is outstanding.
    package var unknownTransactions = 0
    /// Responses without, or with wrong, integrity.
    package var unauthenticResponses = 0
    /// Data indications from peers without permission.
    package var forbiddenPeers = 0
    /// ChannelData on numbers that were not bound.
    package var unknownChannels = 0
    /// ChannelData that says to be longer than it is.
    package var truncatedChannelData = 0
    /// Datagrams and streams' bytes before the allocation and after the end.
    package var outsideAllocation = 0
    /// Datagrams of the owner while there is no allocation.
    package var notAllocated = 0
    /// Datagrams of the owner to another family, port 0, or longer than a message can carry.
    package var unsendable = 0
    /// Datagrams of the owner to peers that the server refused.
    package var refusedPeers = 0
    /// Datagrams of the owner that found no room, while they waited for a permission or in the transmit queue.
    package var limited = 0

    package init() {}

    /// Each reason by its name here.
    package var byReason: [(name: String, count: Int)] {
        [
            ("wrongAddress", wrongAddress), ("malformed", malformed), ("unexpected", unexpected),
            ("unknownTransactions", unknownTransactions), ("unauthenticResponses", unauthenticResponses),
            ("forbiddenPeers", forbiddenPeers), ("unknownChannels", unknownChannels),
            ("truncatedChannelData", truncatedChannelData), ("outsideAllocation", outsideAllocation),
            ("notAllocated", notAllocated), ("unsendable", unsendable), ("refusedPeers", refusedPeers),
            ("limited", limited),
        ]
    }

    /// Adds another client's.
    package static func += (sum: inout TURNDropCounts, other: TURNDropCounts) {
        sum.wrongAddress += other.wrongAddress
        sum.malformed += other.malformed
        sum.unexpected += other.unexpected
        sum.unknownTransactions += other.unknownTransactions
        sum.unauthenticResponses += other.unauthenticResponses
        sum.forbiddenPeers += other.forbiddenPeers
        sum.unknownChannels += other.unknownChannels
        sum.truncatedChannelData += other.truncatedChannelData
        sum.outsideAllocation += other.outsideAllocation
        sum.notAllocated += other.notAllocated
        sum.unsendable += other.unsendable
        sum.refusedPeers += other.refusedPeers
        sum.limited += other.limited
    }
}
