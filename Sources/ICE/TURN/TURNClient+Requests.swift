import STUN
import SansIO

/// Requests on their way out.
extension TURNClient {
    func isRequested(_ purpose: TURNRequest.Purpose) -> Bool { requests.contains { $0.purpose == purpose } }

    /// Makes a request and sends it.
    ///
    /// - Parameters:
    ///   - purpose: what it asks for.
    ///   - staleCount: times it was made anew.
    ///   - now: the present.
    func submit(_ purpose: TURNRequest.Purpose, staleCount: Int = 0, at now: Instant) {
        let id = STUNTransactionID(random: random)
        guard let message = message(for: purpose, id: id) else { return }
        // A stream loses nothing: the first wait is the whole one (RFC 8489 §6.2.2).
        let isStream = transport == .stream
        requests.append(
            TURNRequest(
                purpose: purpose,
                transaction: STUNTransaction(
                    id: id,
                    message: message,
                    initialInterval: isStream ? configuration.requestTimeout : configuration.initialRetransmission,
                    maximumInterval: configuration.maximumRetransmission,
                    timeout: configuration.requestTimeout,
                    at: now
                ),
                authentication: authentication,
                staleCount: staleCount
            )
        )
        statistics.requestsSent += 1
        transmit(message, at: now)
    }

    /// Sends the Refresh that deletes an allocation, without waiting for an answer.
    func abandonAllocation(at now: Instant) {
        guard let message = message(for: .delete, id: STUNTransactionID(random: random)) else { return }
        statistics.requestsSent += 1
        transmit(message, at: now)
    }

    func transmit(_ message: [UInt8], at now: Instant) {
        // The span borrows the array for this one call.
        unsafe transmits.append(message.span.bytes, to: server)
        lastTransmission = now
    }

    /// Sends again what was not answered, and gives up what never will be.
    func retransmitRequests(at now: Instant) {
        var index = 0
        while index < requests.count {
            switch requests[index].transaction.handleTimeout(at: now) {
            case .none: index += 1
            case .retransmit:
                statistics.retransmissionsSent += 1
                transmit(requests[index].transaction.message, at: now)
                index += 1
            case .giveUp:
                refuse(requests.remove(at: index), .timeout, at: now)
                // What follows may have removed or added requests: those before were looked at already.
                index = min(index, requests.count)
            }
        }
    }

    /// - Returns: nil for a channel that there is no more.
    private func message(for purpose: TURNRequest.Purpose, id: STUNTransactionID) -> [UInt8]? {
        var writer = STUNMessageWriter(.request, purpose.method, id)
        switch purpose {
        case .allocate:
            writer.add(.requestedTransport, Self.protocolUDP << 24)
            if configuration.wantsIPv6 { writer.add(.requestedAddressFamily, Self.familyIPv6 << 24) }
        case .refresh: break  // without LIFETIME the server gives what it gives by default
        case .delete: writer.add(.lifetime, UInt32(0))
        case .permission(let ip): writer.add(.xorPeerAddress, xor: TransportAddress(ip, port: 0))
        case .channel(let peer):
            guard let channel = channels.first(where: { $0.peer == peer }) else { return nil }
            writer.add(.channelNumber, UInt32(channel.number) << 16)
            writer.add(.xorPeerAddress, xor: peer)
        }
        if let authentication, let credentials {
            writer.add(.username, text: credentials.username)
            writer.add(.realm, authentication.realm)
            writer.add(.nonce, authentication.nonce)
        }
        return writer.finish(key: authentication?.key, fingerprint: false)
    }

    /// REQUESTED-TRANSPORT's value for UDP (RFC 8656 §18.7).
    private static let protocolUDP: UInt32 = 17
    /// REQUESTED-ADDRESS-FAMILY's value for IPv6 (RFC 8656 §18.6).
    private static let familyIPv6: UInt32 = 2
}

extension TURNRequest.Purpose {
    var method: STUNMethod {
        switch self {
        case .allocate: .allocate
        case .refresh, .delete: .refresh
        case .permission: .createPermission
        case .channel: .channelBind
        }
    }
}
