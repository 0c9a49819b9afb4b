import Glibc
import Locking

/// Counts the TCP connections that this side forwards, and how many there may be.
final class ForwardedConnections: Sendable {
    /// More at once are refused: each takes a descriptor and buffers.
    static let usualLimit = 256
    /// Descriptors that stay free: for sockets of the connection and of the meeting that are made anew, for names that
    /// are looked up, and for libdispatch, which ends the process if it cannot open a file of /proc.
    static let spareDescriptorCount = 32
    /// Descriptors that a connection takes: while it is made both address families are tried.
    static let descriptorCount = 2

    /// How many there may be.
    let limit: Int
    private let count = Atomic<Int>(0)

    init(limit: Int = ForwardedConnections.usualLimit) { self.limit = limit }

    /// As many as this process has descriptors for, after asking the system for as many as it gives.
    static func asManyAsPossible() -> ForwardedConnections {
        var limits = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limits) == 0 else { return ForwardedConnections() }
        let wanted = rlim_t((usualLimit + 2 * spareDescriptorCount) * descriptorCount)
        if limits.rlim_cur < wanted {
            limits.rlim_cur = min(limits.rlim_max, wanted)
            _ = unsafe setrlimit(resource, &limits)
            _ = unsafe getrlimit(resource, &limits)
        }
        // The lowest that is free tells how many are taken.
        let next = unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard next >= 0 else { return ForwardedConnections(limit: 0) }
        close(next)
        return ForwardedConnections(
            limit: limit(descriptorLimit: Int(clamping: limits.rlim_cur), usedDescriptorCount: Int(next))
        )
    }

    /// How many connections fit beside what is open already.
    static func limit(descriptorLimit: Int, usedDescriptorCount: Int) -> Int {
        max(0, min(usualLimit, (descriptorLimit - usedDescriptorCount - spareDescriptorCount) / descriptorCount))
    }

    /// Whether there is room for one more, which counts from now on.
    func enter() -> Bool {
        if count.add(1, ordering: .relaxed).oldValue < limit { return true }
        leave()
        return false
    }

    func leave() { count.subtract(1, ordering: .relaxed) }
}
