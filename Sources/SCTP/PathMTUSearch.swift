package import SansIO

/// What is known of a path before anything was sent along it: how long packets can be at best.
package enum SCTPPath: Hashable, Sendable {
    /// Nothing: packets stay as short as all paths take them.
    case unknown
    /// Both ends are on one machine.
    case sameHost
    case ipv4
    case ipv6

    /// Which of them a path is.
    ///
    /// - Parameters:
    ///   - host: this machine's own address on it; nil if only one that a NAT or a relay gave is known, which others
    ///     may have too.
    ///   - remote: the peer's address.
    package init(host: IPAddress?, remote: IPAddress) {
        self = host == remote || remote.isLoopback ? .sameHost : remote.isIPv4 ? .ipv4 : .ipv6
    }

    /// MTUs of networks and tunnels between them.
    private static let commonMTUs = [1500, 1480, 1420, 1380, 1300]

    /// Lengths of packets that are worth a try, longest first; none above what the peer's DTLS says it reads, if it
    /// says that.
    func candidates(recordSizeLimit: Int?) -> [Int] {
        let headers = self == .ipv6 ? 48 : 28
        let common = Self.commonMTUs.map { ($0 - headers - Self.dtlsOverhead) & ~3 }
        // libwebrtc reads 2048 bytes and goes silent for good after a longer record, so a probe would not be harmless.
        let limit = recordSizeLimit ?? Self.commonMTUs[0]
        return switch self {
        case .unknown: []
        case .sameHost: ([Self.longestRecord] + common).filter { $0 <= limit }
        case .ipv4, .ipv6: common.filter { $0 <= limit }
        }
    }

    /// What DTLS puts around a packet, and the longest that it takes (RFC 5246 §6.2.1).
    private static let dtlsOverhead = 37
    private static let longestRecord = 16_384
}

/// Finds out how long packets may be on a path, and notices when that is no longer true.
///
/// A probe is a HEARTBEAT made long with a PAD chunk; no data is in it, so its loss does no harm, and the peer's
/// HEARTBEAT ACK tells that it has arrived. The search begins when there is enough to send that it pays, and tries the
/// longest first. When long packets vanish all at once, the short ones of the beginning are good again, and the search
/// starts anew once data arrives.
///
/// RFC 8899 §5, §6.2.3; RFC 4820
struct PathMTUSearch {
    /// The longest packet that may be sent now.
    private(set) var packetLimit: Int
    /// Sent in each probe and echoed: an answer that comes from an earlier path says nothing.
    private(set) var generation: UInt32 = 0

    /// What every path takes.
    private let base: Int
    private var candidates: [Int]
    private var sentByteCount = 0
    private var hasSent = false
    private var hasProgressed = false
    private var unansweredSince: Instant?
    private var phase = Phase.waiting

    private enum Phase: Equatable {
        /// Until enough was sent.
        case waiting
        /// The number of the candidate, of the tries so far, and when the next is due.
        case searching(candidate: Int, tries: Int, due: Instant)
        /// Found, or nothing to be found; longer packets are tried again then.
        case done(until: Instant)
        /// Packets vanish: until some data arrives.
        case stalled
    }

    /// Bytes sent before the search begins: the peer, if it is like us, then reads into a long buffer.
    static let startByteCount = 64 << 10
    /// RFC 8899 §5.1.1 wants at least a second, or less if the round-trip time is known to be below.
    static let probeTime = Duration.seconds(1)
    /// RFC 8899 §5.1.2: three tries; the first two candidates cost a second each then.
    static let maxProbes = 2
    /// RFC 8899 §5.1.1: PMTU_RAISE_TIMER.
    static let raiseTime = Duration.seconds(600)
    /// How long data goes unanswered before long packets are suspected.
    static let stallTime = Duration.seconds(3)

    /// - Parameters:
    ///   - base: the length that every path takes.
    ///   - candidates: longer ones to try, longest first.
    init(base: Int, candidates: [Int]) {
        self.base = base
        self.candidates = candidates.filter { $0 > base }
        packetLimit = base
    }

    /// Another path: nothing is known of it.
    mutating func pathChanged(candidates: [Int]) {
        self.candidates = candidates.filter { $0 > base }
        reset(to: .waiting)
    }

    /// So many bytes of packets have left.
    mutating func didSend(byteCount: Int) {
        sentByteCount += byteCount
        hasSent = true
    }

    /// The peer has acknowledged data that it had not acknowledged before.
    mutating func didProgress() { hasProgressed = true }

    /// The peer has acknowledged all that was sent: nothing is awaited.
    mutating func didDrain() {
        hasSent = false
        hasProgressed = true
    }

    /// The peer has answered the probe of a generation and length.
    mutating func didArrive(byteCount: Int, generation: UInt32) {
        guard generation == self.generation, case .searching(let index, let tries, let due) = phase, tries > 0,
            candidates[index] == byteCount
        else { return }
        packetLimit = byteCount
        phase = .done(until: due + Self.raiseTime)
    }

    /// Whether the answer to a probe is awaited.
    var isSearching: Bool {
        if case .searching = phase { return true }
        return false
    }

    /// The length of the probe that is due, if one is.
    mutating func probe(at now: Instant) -> Int? {
        noticeStall(at: now)
        switch phase {
        case .waiting:
            guard sentByteCount >= Self.startByteCount, !candidates.isEmpty else { return nil }
            phase = .searching(candidate: 0, tries: 0, due: now)
            return probe(at: now)
        case .stalled:
            return nil
        case .done(let until):
            guard now >= until, let longest = candidates.first, packetLimit < longest else { return nil }
            generation &+= 1
            phase = .searching(candidate: 0, tries: 0, due: now)
            return probe(at: now)
        case .searching(let index, let tries, let due):
            guard now >= due else { return nil }
            if tries < Self.maxProbes {
                phase = .searching(candidate: index, tries: tries + 1, due: now + Self.probeTime)
                return candidates[index]
            }
            guard index + 1 < candidates.count, candidates[index + 1] > packetLimit else {
                phase = .done(until: now + Self.raiseTime)
                return nil
            }
            phase = .searching(candidate: index + 1, tries: 0, due: now)
            return probe(at: now)
        }
    }

    /// RFC 8899 §4.3: a black hole shows in data that is not acknowledged.
    private mutating func noticeStall(at now: Instant) {
        if hasProgressed {
            unansweredSince = nil
            if phase == .stalled { reset(to: .waiting) }
        }
        if hasSent, unansweredSince == nil { unansweredSince = now }
        hasProgressed = false
        hasSent = false
        guard packetLimit > base, let since = unansweredSince, now - since >= Self.stallTime else { return }
        reset(to: .stalled)
    }

    private mutating func reset(to phase: Phase) {
        packetLimit = base
        generation &+= 1
        sentByteCount = 0
        unansweredSince = nil
        self.phase = phase
    }
}
