internal import SansIO

/// When the stream of a closed channel is reset. RFC 8831 §6.7
extension DataChannelTable {
    /// How long a channel that was closed at once waits for the peer to confirm it.
    private static let confirmPatience = Duration.seconds(2)
    /// How long it is left alone after that.
    private static let announcementTime = Duration.milliseconds(100)

    func beginReset(_ channel: Channel, at now: Instant) {
        channel.confirmDeadline = now + Self.confirmPatience
        resetIfFlushed(channel)
    }

    /// The peer has made the channel.
    func confirm(_ channel: Channel) {
        guard channel.state == .closing, !channel.isConfirmed, let association else {
            channel.isConfirmed = true
            return
        }
        // Who confirms a channel may not have shown it to its program yet.
        let announced = association.now + Self.announcementTime
        channel.confirmDeadline = min(channel.confirmDeadline ?? announced, announced)
    }

    func resetIfFlushed(_ channel: Channel) {
        guard isConnected, channel.state == .closing, !channel.hasResetOutgoing, let id = channel.id,
            channel.queue.isEmpty
        else { return }
        // A peer that gets the reset while it makes the channel may never close it, as Firefox 153 does.
        guard channel.isConfirmed || channel.isIncomingReset || hasWaitedForConfirmation(channel) else {
            return resetLater(channel)
        }
        switch association?.resetOutgoing(id) {
        case .requested: channel.hasResetOutgoing = true
        case .later: resetLater(channel)
        // A peer without RE-CONFIG (RFC 6525) cannot be told; the id stays taken, since its half is still open.
        case .unsupported, nil: remove(channel, keepsID: true)
        }
    }

    private func resetLater(_ channel: Channel) {
        guard !channel.hasLaterReset else { return }
        channel.hasLaterReset = true
        laterResets.append(channel)
    }

    private func hasWaitedForConfirmation(_ channel: Channel) -> Bool {
        guard let deadline = channel.confirmDeadline, let association else { return true }
        return association.now >= deadline
    }

    func retryResets() {
        guard !laterResets.isEmpty else { return }
        let channels = laterResets
        laterResets = []
        for channel in channels {
            channel.hasLaterReset = false
            resetIfFlushed(channel)
        }
    }
}
