internal import SansIO

/// Which channel's message usrsctp gets next: deficit round robin, in proportion to the priorities.
extension DataChannelTable {
    func enqueueOrSend(_ channel: Channel, ppid: UInt32, bytes: [UInt8], byteCount: Int) {
        if ready.isEmpty, case .sent = unsafe sendNow(channel, ppid: ppid, bytes.span.bytes) { return }
        enqueue(channel, ppid: ppid, bytes: bytes, byteCount: byteCount)
    }

    func enqueue(_ channel: Channel, ppid: UInt32, bytes: [UInt8], byteCount: Int) {
        channel.queue.append(Queued(ppid: ppid, bytes: bytes, byteCount: byteCount))
        channel.queuedByteCount += bytes.count
        if !channel.isReady {
            channel.isReady = true
            ready.append(channel)
        }
        channel.bufferedAmount += byteCount
        channel.reportedAmount = channel.bufferedAmount
    }

    func sendNow(
        _ channel: Channel,
        ppid: UInt32,
        _ bytes: RawSpan,
        moreFollows: Bool = false
    ) -> SCTPAssociation.SendResult {
        guard let association, let id = channel.id else { return .blocked }
        let isControl = ppid == DCEP.ppid
        return association.send(
            bytes,
            stream: id,
            ppid: ppid,
            isOrdered: isControl || channel.parameters.ordered || !channel.isConfirmed,
            reliability: isControl ? .reliable : channel.reliability,
            moreFollows: moreFollows
        )
    }

    /// Gives usrsctp what it has room for, a share of each waiting channel in turn.
    func flushQueue() {
        guard isConnected else { return }
        retryResets()
        var touched: [Channel] = []
        /// Channels in a row whose stream is not there yet.
        var waitingCount = 0
        turns: while let channel = ready.first, waitingCount < ready.count {
            if !channel.hasShare {
                channel.hasShare = true
                channel.credit += channel.share
            }
            var isWaiting = false
            messages: while let item = channel.queue.first, item.bytes.count <= channel.credit {
                let moreFollows = channel.queue.count > 1 || ready.count > 1
                switch unsafe sendNow(channel, ppid: item.ppid, item.bytes.span.bytes, moreFollows: moreFollows) {
                case .blocked: break turns
                case .noStream:
                    isWaiting = true
                    break messages
                case .failed: statistics.dropped += 1
                case .sent: break
                }
                _ = channel.queue.popFirst()
                channel.credit -= item.bytes.count
                channel.queuedByteCount -= item.bytes.count
                channel.bufferedAmount -= item.byteCount
                if !channel.isTouched {
                    channel.isTouched = true
                    touched.append(channel)
                }
            }
            _ = ready.popFirst()
            channel.hasShare = false
            channel.isReady = !channel.queue.isEmpty
            if channel.isReady { ready.append(channel) }
            if isWaiting || !channel.isReady { channel.credit = 0 }
            waitingCount = isWaiting ? waitingCount + 1 : 0
        }
        for channel in touched {
            channel.isTouched = false
            if channel.bufferedAmount != channel.reportedAmount {
                channel.reportedAmount = channel.bufferedAmount
                events.append(.bufferedAmountChanged(channel.handle, channel.bufferedAmount))
            }
            resetIfFlushed(channel)
        }
    }
}
