import SansIO

/// Bounds what is done for each host.
///
/// An IPv6 host has a /64. Hosts beyond the table's size share one allowance.
struct AddressRateLimiter {
    private let rate: TokenRate
    private let hostLimit: Int
    private var buckets: [IPAddress: TokenBucket] = [:]
    private var shared: TokenBucket?
    /// When the table, being full, is searched again for hosts that have their allowance back.
    private var nextSearch: Instant?

    init(_ rate: TokenRate, hostLimit: Int) {
        self.rate = rate
        self.hostLimit = hostLimit
    }

    /// Whether a host has some of its allowance left.
    func allows(_ ip: IPAddress, at now: Instant) -> Bool {
        guard let bucket = buckets[ip.host] ?? (buckets.count < hostLimit ? nil : shared) else { return true }
        return bucket.hasAny(rate, at: now)
    }

    /// Takes one of a host's allowance; false if none is left.
    mutating func take(_ ip: IPAddress, at now: Instant) -> Bool {
        let host = ip.host
        if buckets[host] == nil, buckets.count >= hostLimit { forgetFull(at: now) }
        if buckets[host] != nil || buckets.count < hostLimit {
            return buckets[host, default: TokenBucket(rate, at: now)].take(rate, at: now)
        }
        var bucket = shared ?? TokenBucket(rate, at: now)
        defer { shared = bucket }
        return bucket.take(rate, at: now)
    }

    /// Forgets hosts that have all of their allowance, being as good as new.
    private mutating func forgetFull(at now: Instant) {
        // Who forges as many addresses as the table has places must not have it searched for each datagram.
        if let nextSearch, now < nextSearch { return }
        nextSearch = now + Self.searchInterval
        buckets = buckets.filter { !$0.value.isFull(rate, at: now) }
    }

    private static let searchInterval: Duration = .milliseconds(100)
}

extension IPAddress {
    /// What counts as one host: an IPv4 address, or the /64 of an IPv6 one.
    var host: IPAddress { isIPv4 ? self : IPAddress(v6High: high, v6Low: 0) }

    /// As other hosts know it.
    var withoutScope: IPAddress { isIPv4 || scopeID == 0 ? self : IPAddress(v6High: high, v6Low: low) }
}
