import Locking

/// Lines that the other side, or anybody who connects, can cause any number of: one a second is shown, with a count.
final class RareLines: Sendable {
    /// What has been held back; it knows no clock.
    struct Held: Sendable {
        private var last = ""
        private var count = 0
        private var waits = false

        /// Takes a line.
        ///
        /// - Returns: whether it is to be shown now; ``tick()`` is to be called a second later then.
        mutating func add(_ line: String) -> Bool {
            guard waits else {
                waits = true
                return true
            }
            last = line
            count += 1
            return false
        }

        /// A second has gone by.
        ///
        /// - Returns: what is to be shown, if anything was held back; it is to be called again a second later then.
        mutating func tick() -> String? {
            defer { count = 0 }
            if count == 0 { waits = false }
            return count > 1 ? "\(last) (\(count) such lines)" : count == 1 ? last : nil
        }
    }

    private let held = Mutex(Held())
    private let show: @Sendable (String) -> Void

    init(_ show: @escaping @Sendable (String) -> Void) { self.show = show }

    func say(_ line: String) {
        guard held.withLock({ $0.add(line) }) else { return }
        show(line)
        Task {
            repeat {
                try? await Task.sleep(for: .seconds(1))
                guard let line = held.withLock({ $0.tick() }) else { return }
                show(line)
            } while true
        }
    }
}
