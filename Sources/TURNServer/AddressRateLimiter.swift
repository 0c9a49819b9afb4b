import SansIO

/// Bounds what is answered to addresses that have proven nothing: they may be somebody else's.
///
/// An IPv6 host has a /64. Addresses beyond the table's size share one allowance.
struct AddressRateLimiter {
    private struct Allowance {
        var count: Double
        var filledAt: Instant
    }

    private let perSecond: Double
    private let burst: Double
    private let addressLimit: Int
    private var allowances: [IPAddress: Allowance] = [:]
    private var shared: Allowance?

    init(perSecond: Int, burst: Int, addressLimit: Int) {
        self.perSecond = Double(perSecond)
        self.burst = Double(burst)
        self.addressLimit = addressLimit
    }

    var addressCount: Int { allowances.count }

    /// Whether another answer may go there.
    func allows(_ ip: IPAddress, at now: Instant) -> Bool {
        guard let known = allowances[ip.host] ?? (allowances.count < addressLimit ? nil : shared) else { return true }
        return filled(known, at: now).count >= 1
    }

    /// Counts an answer.
    mutating func take(_ ip: IPAddress, at now: Instant) {
        let host = ip.host
        if allowances[host] == nil, allowances.count >= addressLimit {
            allowances = allowances.filter { filled($0.value, at: now).count < burst }
        }
        if allowances[host] != nil || allowances.count < addressLimit {
            allowances[host] = taken(allowances[host], at: now)
        } else {
            shared = taken(shared, at: now)
        }
    }

    private func taken(_ allowance: Allowance?, at now: Instant) -> Allowance {
        var result = filled(allowance ?? Allowance(count: burst, filledAt: now), at: now)
        result.count = max(0, result.count - 1)
        return result
    }

    private func filled(_ allowance: Allowance, at now: Instant) -> Allowance {
        let seconds = Double(max(0, (now - allowance.filledAt).wholeNanoseconds)) / 1e9
        return Allowance(
            count: min(burst, allowance.count + seconds * perSecond),
            filledAt: max(now, allowance.filledAt)
        )
    }
}

extension IPAddress {
    /// What counts as one host: an IPv4 address, or the /64 of an IPv6 one.
    var host: IPAddress { isIPv4 ? self : IPAddress(v6High: high, v6Low: 0) }

    /// As other hosts know it.
    var withoutScope: IPAddress { isIPv4 || scopeID == 0 ? self : IPAddress(v6High: high, v6Low: low) }
}
