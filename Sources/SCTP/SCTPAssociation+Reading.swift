internal import CUSRSCTP
internal import Glibc
internal import SansIO

/// What usrsctp has for its reader: messages and notifications (RFC 6458 §6).
extension SCTPAssociation {
    /// Streams with a message in parts, beyond which the association is ended.
    private static let partialLimit = 64

    func read(_ socket: OpaquePointer, into events: inout [Event]) {
        let scratch = unsafe SCTPStack.readScratch
        while true {
            var info = sctp_rcvinfo()
            var infoLength = socklen_t(MemoryLayout<sctp_rcvinfo>.size)
            var fromLength = socklen_t(0)
            var kind: UInt32 = 0
            var flags: Int32 = 0
            let count = unsafe usrsctp_recvv(
                socket,
                scratch.baseAddress,
                scratch.count,
                nil,
                &fromLength,
                &info,
                &infoLength,
                &kind,
                &flags
            )
            guard count > 0 else { return }
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: scratch[..<count])
            if flags & Int32(MSG_NOTIFICATION) != 0 {
                unsafe readNotification(bytes, into: &events)
                continue
            }
            let stream = info.rcv_sid
            let isEnd = flags & Int32(MSG_EOR) != 0
            if isEnd, partial.isEmpty || partial[stream] == nil {
                guard count <= configuration.maxMessageSize else {
                    events.append(.closed(.messageTooLarge(limit: configuration.maxMessageSize)))
                    return
                }
                unsafe events.append(
                    .message(stream: stream, ppid: UInt32(bigEndian: info.rcv_ppid), bytes: Array(bytes))
                )
                continue
            }
            guard partial.count < Self.partialLimit || partial[stream] != nil,
                (partial[stream]?.count ?? 0) + count <= configuration.maxMessageSize
            else {
                events.append(.closed(.messageTooLarge(limit: configuration.maxMessageSize)))
                return
            }
            unsafe partial[stream, default: []].append(contentsOf: bytes)
            if isEnd, let whole = partial.removeValue(forKey: stream) {
                unsafe events.append(.message(stream: stream, ppid: UInt32(bigEndian: info.rcv_ppid), bytes: whole))
            }
        }
    }

    func readNotification(_ bytes: UnsafeRawBufferPointer, into events: inout [Event]) {
        guard bytes.count >= 8 else { return }
        let type = unsafe Int32(bytes.loadUnaligned(fromByteOffset: 0, as: UInt16.self))
        switch type {
        case SCTP_ASSOC_CHANGE:
            guard bytes.count >= 10 else { return }
            let state = unsafe Int32(bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self))
            switch state {
            case SCTP_COMM_UP:
                guard bytes.count >= 16 else { return }
                unsafe mailbox.streams.establish(
                    outgoing: Int(bytes.loadUnaligned(fromByteOffset: 12, as: UInt16.self)),
                    incoming: max(
                        mailbox.streams.incoming,
                        Int(bytes.loadUnaligned(fromByteOffset: 14, as: UInt16.self))
                    )
                )
                events.append(.connected(streamCount: mailbox.streams.outgoingLimit))
            case SCTP_COMM_LOST, SCTP_CANT_STR_ASSOC: unsafe events.append(.closed(.lost(Self.reason(for: bytes))))
            case SCTP_SHUTDOWN_COMP: events.append(.closed(nil))
            default: break
            }
        case SCTP_PARTIAL_DELIVERY_EVENT:
            // The rest of a message was given up by the peer.
            guard bytes.count >= 16 else { return }
            let stream = unsafe bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self)
            partial[UInt16(truncatingIfNeeded: stream)] = nil
        case SCTP_STREAM_RESET_EVENT:
            guard bytes.count >= 12 else { return }
            let flags = unsafe Int32(bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
            var streams: [UInt16] = []
            var offset = 12
            while offset + 2 <= bytes.count {
                unsafe streams.append(bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
                offset += 2
            }
            let isDone = flags & (SCTP_STREAM_RESET_DENIED | SCTP_STREAM_RESET_FAILED) == 0
            if flags & SCTP_STREAM_RESET_INCOMING_SSN != 0, isDone { events.append(.incomingReset(streams)) }
            if flags & SCTP_STREAM_RESET_OUTGOING_SSN != 0 {
                if streams.isEmpty { streams = resettingStreams.sorted() }
                resettingStreams.subtract(streams)
                events.append(.outgoingReset(streams, isDone: isDone))
            }
        default: break
        }
    }

    /// In words what ended the association; the notification holds the peer's ABORT chunk, if there was one.
    /// RFC 6458 §6.1.1, RFC 9260 §3.3.7
    private static func reason(for notification: UnsafeRawBufferPointer) -> String {
        let chunkOffset = 20
        guard notification.count >= chunkOffset + 8, unsafe notification[chunkOffset] == 6 else {
            return "the peer does not answer"
        }
        func number(at offset: Int) -> Int {
            unsafe Int(UInt16(bigEndian: notification.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
        }
        let cause = number(at: chunkOffset + 4)
        let end = min(notification.count, chunkOffset + 4 + number(at: chunkOffset + 6))
        let information = unsafe notification[min(chunkOffset + 8, end)..<end].filter { $0 >= 32 && $0 < 127 }.prefix(
            200
        )
        return "the peer aborted it, cause \(cause) \(String(decoding: information, as: UTF8.self))"
    }
}
