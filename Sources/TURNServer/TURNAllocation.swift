import STUN
import SansIO

/// One client's relayed address, and whom it lets through.
///
/// RFC 8656 §2.2, §7.2
final class TURNAllocation {
    enum State {
        /// The socket is being opened; the answer waits.
        case opening
        case open(relayed: TransportAddress, answer: [UInt8])
    }

    /// The five-tuple: listener or stream, and the client.
    let client: TransmitPath
    let isStream: Bool
    /// The relay's socket.
    let relay: PortID
    let relayAddress: TURNRelayAddress
    let user: TURNUser
    /// Of the Allocate request, so that its repetition is known.
    let request: TURNAllocateRequest
    var state = State.opening
    /// What its client showed last with credentials that were right: nobody else has it.
    var nonce: [UInt8]
    /// How often its client may ask by UDP.
    var requests: TokenBucket
    var expiry: Instant
    var permissions: [IPAddress: Instant] = [:]
    var channels: [TURNServerChannel] = []
    /// Bytes that were relayed.
    var relayedByteCount = 0
    /// What may be relayed at once, if that is limited.
    private var allowance: Int
    private var allowanceFilledAt: Instant

    init(
        client: TransmitPath,
        isStream: Bool,
        relay: PortID,
        relayAddress: TURNRelayAddress,
        user: TURNUser,
        request: TURNAllocateRequest,
        nonce: [UInt8],
        requests: TokenBucket,
        expiry: Instant,
        allowance: Int,
        at now: Instant
    ) {
        self.client = client
        self.isStream = isStream
        self.relay = relay
        self.relayAddress = relayAddress
        self.user = user
        self.request = request
        self.nonce = nonce
        self.requests = requests
        self.expiry = expiry
        self.allowance = allowance
        allowanceFilledAt = now
    }

    var isIPv4: Bool { relayAddress.local.isIPv4 }

    func isOpen(at now: Instant) -> Bool {
        if case .open = state { now < expiry } else { false }
    }

    func permits(_ ip: IPAddress, at now: Instant) -> Bool { permissions[ip].map { now < $0 } ?? false }

    /// Lets a peer through for the time that permissions last.
    ///
    /// - Returns: false if there are too many.
    func permit(_ ip: IPAddress, limit: Int, at now: Instant) -> Bool {
        if permissions[ip] == nil, permissions.count >= limit {
            permissions = permissions.filter { now < $0.value }
            guard permissions.count < limit else { return false }
        }
        let expiry = now + TURNServerLimits.permissionLifetime
        permissions[ip] = expiry
        for index in channels.indices where channels[index].peer.ip == ip { channels[index].permissionExpiry = expiry }
        return true
    }

    /// Counts bytes to relay; false if they are too many just now.
    func mayRelay(_ byteCount: Int, bytesPerSecond: Int?, at now: Instant) -> Bool {
        guard let bytesPerSecond else { return true }
        let microseconds = max(0, (now - allowanceFilledAt).wholeNanoseconds / 1000)
        // A second fills it up; so the product stays far from the end of the numbers.
        let filled = microseconds >= 1_000_000 ? bytesPerSecond : Int(microseconds) * bytesPerSecond / 1_000_000
        if filled > 0 {
            allowance = min(bytesPerSecond, allowance + filled)
            allowanceFilledAt = now
        }
        guard allowance >= byteCount else { return false }
        allowance -= byteCount
        return true
    }
}

/// A number that stands for a peer.
///
/// RFC 8656 §12
struct TURNServerChannel {
    let number: UInt16
    let peer: TransportAddress
    var expiry: Instant
    /// That of the permission for the peer's address, so that a datagram needs one look-up.
    var permissionExpiry: Instant
}

/// Who was let in.
struct TURNUser: Hashable {
    /// As on the wire.
    let username: [UInt8]
    /// The part that quotas count by.
    let name: String
    let key: STUNKey
}

/// What of an Allocate request is kept until its answer.
struct TURNAllocateRequest {
    let transactionID: STUNTransactionID
    let hasFingerprint: Bool
    let wantsSecondFamily: Bool
    let lifetime: UInt32
}
