import STUN
import SansIO

/// Time.
extension TURNClient {
    /// Draws all conclusions of an input: sends what is due, ends what is over, updates the deadline.
    ///
    /// Every input and command that changes more than counters ends here.
    func settle(at now: Instant) {
        retransmitRequests(at: now)
        switch state {
        case .closing(let until) where until <= now: end(.closed, .closed)
        case .allocated(let allocation) where allocation.expiry <= now: fail(.expired)
        case .allocated:
            endPermissions(at: now)
            endChannels(at: now)
            refresh(at: now)
            keepAlive(at: now)
        case .idle, .allocating, .closing, .redirected, .failed, .closed: break
        }
        setTimers(at: now)
    }

    private func endPermissions(at now: Instant) {
        for ip in permissions.map(\.ip) {
            guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { continue }
            switch permissions[index].state {
            case .installed(let expiry, _) where expiry <= now:
                if permissions[index].isKept {
                    refusePermission(ip, .timeout, at: now)
                } else {
                    permissions.remove(at: index)
                }
            // Whoever sends to it then asks the server again.
            case .refused(let until) where until <= now: permissions.remove(at: index)
            case .requested, .installed, .refused: break
            }
        }
    }

    private func endChannels(at now: Instant) {
        channels.removeAll { channel in
            !channel.isKept && (channel.expiry.map { $0 + TURNLimits.channelQuarantine <= now } ?? false)
        }
        for index in channels.indices where channels[index].isKept {
            guard let expiry = channels[index].expiry, expiry <= now, !isRequested(.channel(channels[index].peer))
            else { continue }
            channels[index].isKept = false
            emit(.channelRefused(channels[index].peer, .timeout))
        }
    }

    /// Asks for more time for what will end.
    private func refresh(at now: Instant) {
        guard case .allocated(let allocation) = state else { return }
        if let refreshAt = allocation.refreshAt, refreshAt <= now, !isRequested(.refresh) {
            submit(.refresh, at: now)
        }
        for permission in permissions where permission.isKept && !isRequested(.permission(permission.ip)) {
            if case .installed(_, let refreshAt) = permission.state, refreshAt <= now {
                submit(.permission(permission.ip), at: now)
            }
        }
        for channel in channels where channel.isKept && !isRequested(.channel(channel.peer)) {
            if let refreshAt = channel.refreshAt, refreshAt <= now { submit(.channel(channel.peer), at: now) }
        }
    }

    /// Has the server say now whether it still has the allocation.
    func verify(at now: Instant) {
        guard case .allocated(var allocation) = state, allocation.refreshAt != nil else { return }
        allocation.refreshAt = now
        state = .allocated(allocation)
        settle(at: now)
    }

    /// RFC 8445 §11: an indication keeps the NAT's binding open, and nobody answers it.
    private func keepAlive(at now: Instant) {
        guard transport == .datagram, lastTransmission + configuration.keepalive <= now else { return }
        statistics.keepalivesSent += 1
        transmit(STUNMessageWriter(.indication, .binding, STUNTransactionID(random: random)).finish(), at: now)
    }

    private func setTimers(at now: Instant) {
        timers.removeAll()
        for request in requests { advance(.retransmission, to: request.transaction.nextInstant) }
        switch state {
        case .closing(let until): advance(.closing, to: until)
        case .allocated(let allocation):
            advance(.expiry, to: allocation.expiry)
            if let refreshAt = allocation.refreshAt, !isRequested(.refresh) { advance(.refresh, to: refreshAt) }
            setPermissionTimers()
            setChannelTimers()
            if transport == .datagram { advance(.keepalive, to: lastTransmission + configuration.keepalive) }
        case .idle, .allocating, .redirected, .failed, .closed: break
        }
        setDeadline(timers.next.map { Deadline($0.instant, $0.timer.reason) })
    }

    private func setPermissionTimers() {
        for permission in permissions {
            switch permission.state {
            case .requested: break  // its request has a timer
            case .refused(let until): advance(.permission, to: until)
            case .installed(let expiry, let refreshAt):
                let isRefreshed = permission.isKept && !isRequested(.permission(permission.ip))
                advance(.permission, to: isRefreshed ? min(expiry, refreshAt) : expiry)
            }
        }
    }

    private func setChannelTimers() {
        for channel in channels {
            guard let expiry = channel.expiry else { continue }
            if !channel.isKept {
                advance(.channel, to: expiry + TURNLimits.channelQuarantine)
            } else if let refreshAt = channel.refreshAt, !isRequested(.channel(channel.peer)) {
                advance(.channel, to: min(expiry, refreshAt))
            }
        }
    }

    /// Sets a timer to an instant unless it is set to an earlier one.
    private func advance(_ timer: TURNTimer, to instant: Instant) {
        timers[timer] = timers[timer].map { min($0, instant) } ?? instant
    }
}
