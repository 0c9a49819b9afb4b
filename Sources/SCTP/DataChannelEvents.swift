/// Names a channel inside one engine; never reused.
package struct DataChannelHandle: Hashable, Sendable {
    package let rawValue: Int
}

package enum DataChannelError: Error, Hashable, Sendable, CustomStringConvertible {
    case idInUse(UInt16)
    /// A negotiated id at or above the number of streams.
    case idOutOfRange(UInt16, limit: UInt16)
    case noFreeID
    case notOpen
    case messageTooLarge(limit: Int)
    case bufferFull(limit: Int)
    /// The association has ended: no channel opens any more.
    case associationClosed
    case association(SCTPError)

    package var description: String {
        switch self {
        case .idInUse(let id): "the id \(id) is in use"
        case .idOutOfRange(let id, let limit): "the id \(id) is not below \(limit)"
        case .noFreeID: "all ids are in use"
        case .notOpen: "the channel is not open"
        case .messageTooLarge(let limit): "the peer takes messages of at most \(limit) bytes"
        case .bufferFull(let limit): "over \(limit) bytes wait to be sent"
        case .associationClosed: "the SCTP association has ended"
        case .association(let error): "SCTP: \(error)"
        }
    }
}

package enum DataChannelEvent: Hashable, Sendable {
    case associationConnected
    case associationClosed(SCTPError?)
    case incoming(DataChannelHandle, DataChannelParameters, id: UInt16)
    case opened(DataChannelHandle, id: UInt16)
    case message(DataChannelHandle, isText: Bool, [UInt8])
    case bufferedAmountChanged(DataChannelHandle, Int)
    case closing(DataChannelHandle)
    /// The association failed; `closed` follows.
    case failed(DataChannelHandle, SCTPError)
    case closed(DataChannelHandle)
}

package struct DataChannelStatistics: Hashable, Sendable {
    package var opened = 0
    package var closed = 0
    package var messagesSent = 0
    package var bytesSent = 0
    package var messagesReceived = 0
    package var bytesReceived = 0
    /// Malformed packets, messages for streams without a channel, broken DCEP, unknown PPIDs.
    package var dropped = 0
}
