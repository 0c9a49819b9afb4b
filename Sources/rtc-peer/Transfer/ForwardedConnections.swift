import Locking

/// Counts the TCP connections that the other side has asked for and that still are.
final class ForwardedConnections: Sendable {
    /// More at once are refused: each takes a descriptor and buffers here.
    static let limit = 256
    private let count = Atomic<Int>(0)

    /// Whether there is room for one more, which counts from now on.
    func enter() -> Bool {
        if count.add(1, ordering: .relaxed).oldValue < Self.limit { return true }
        leave()
        return false
    }

    func leave() { count.subtract(1, ordering: .relaxed) }
}
