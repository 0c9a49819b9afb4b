import STUN
package import SansIO

/// Time.
extension ICEAgent {
    /// Does what is due.
    ///
    /// Calling early does no harm.
    package func handleTimeout(at now: Instant) {
        guard isAlive else { return }
        settle(at: now)
    }

    /// Draws all conclusions of an input: sends what may be sent, selects, updates state and deadline.
    ///
    /// Every input and command ends here.
    func settle(at now: Instant) {
        guard isAlive else {
            timers.removeAll()
            refreshDeadline(nil)
            return
        }
        useEarlyChecks(at: now)
        retransmitChecks(at: now)
        continueGathering(at: now)
        openConnections(at: now)
        sendTriggeredChecks(at: now)
        sendOrdinaryChecks(at: now)
        // Each loss fails a pair, so this ends.
        repeat { selectPath(at: now) } while hasLostConsent(at: now)
        updateGathering()
        if isAlive {
            considerNomination(at: now)
            sendTriggeredChecks(at: now)
            // A missed answer may have made others wait.
            sendOrdinaryChecks(at: now)
            updateState(at: now)
        }
        if !connections.isEmpty || !current.connectionBases.isEmpty { releaseConnections(at: now) }
        setTimers(at: now)
    }

    private func setTimers(at now: Instant) {
        timers.removeAll()
        if isAlive {
            setCheckTimers(at: now)
            for generation in [previous, current] {
                guard let consent = generation?.selected?.consent else { continue }
                advance(.consent, to: min(consent.nextCheck, consent.expiry))
            }
            for gathering in current.gatherings {
                if let next = gathering.nextInstant { advance(.gathering, to: next) }
            }
            if let due = connectionsDue { advance(.connections, to: due) }
            if let started = current.checksStartedAt, activePair == nil || current.selected == nil,
                now < started + configuration.patience
            {
                advance(.patience, to: started + configuration.patience)
            }
        }
        refreshDeadline(timers.next.map { Deadline($0.instant, $0.timer.reason) })
    }

    private func setCheckTimers(at now: Instant) {
        guard current.remote != nil else { return }
        if !current.triggered.isEmpty, let next = nextOrdinaryCheck {
            advance(.pacing, to: next - configuration.pacing * configuration.triggeredBurst)
        } else if let pair = nextWaitingPair {
            advance(.pacing, to: ordinaryCheckDue(pair) ?? now)
        }
        for pair in current.pairs {
            switch pair.state {
            case .inProgress(let transaction), .succeeded(nominating: .some(let transaction)):
                advance(.retransmission, to: transaction.nextInstant)
            case .frozen, .waiting, .succeeded(nominating: nil), .failed: break
            }
        }
        if currentRole == .controlling, !current.isConcluded, let best = bestValidPair(at: now) {
            let instant = nominationInstant(best)
            if instant > now { advance(.nomination, to: instant) }
        }
    }

    /// Sets a timer to an instant unless it is set to an earlier one.
    private func advance(_ timer: ICETimer, to instant: Instant) {
        timers[timer] = timers[timer].map { min($0, instant) } ?? instant
    }
}
