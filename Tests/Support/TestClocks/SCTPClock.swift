import Synchronization
public import Testing

/// Keeps tests that run usrsctp in virtual time apart from those that run it in real time.
///
/// usrsctp has one set of timers for the whole process: hours of virtual time would fire those of real connections.
public struct SCTPClock: TestTrait, SuiteTrait, TestScoping {
    let isVirtual: Bool
    /// True: a suite's tests are kept apart one by one.
    public var isRecursive: Bool { true }

    /// Waits for the turn of the test, and runs it.
    @concurrent public func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        await Gate.shared.enter(alone: isVirtual)
        defer { Gate.shared.leave() }
        try await function()
    }
}

extension Trait where Self == SCTPClock {
    /// SCTP in virtual time: runs alone.
    public static var virtualSCTP: Self { SCTPClock(isVirtual: true) }
    /// SCTP in real time: runs beside others of its kind.
    public static var realSCTP: Self { SCTPClock(isVirtual: false) }
}

/// A fair lock that one may hold alone or many together.
private final class Gate: Sendable {
    static let shared = Gate()

    private struct State {
        /// Of those inside.
        var count = 0
        var isAlone = false
        var waiting: [(alone: Bool, continuation: CheckedContinuation<Void, Never>)] = []

        /// Lets in those at the head of the queue that may.
        mutating func admit() -> [CheckedContinuation<Void, Never>] {
            var admitted: [CheckedContinuation<Void, Never>] = []
            while let first = waiting.first, count == 0 || (!isAlone && !first.alone) {
                waiting.removeFirst()
                count += 1
                isAlone = first.alone
                admitted.append(first.continuation)
            }
            return admitted
        }
    }

    private let state = Mutex(State())

    func enter(alone: Bool) async {
        await withCheckedContinuation { continuation in
            let admitted = state.withLock { state in
                state.waiting.append((alone, continuation))
                return state.admit()
            }
            for continuation in admitted { continuation.resume() }
        }
    }

    func leave() {
        let admitted = state.withLock { state in
            state.count -= 1
            return state.admit()
        }
        for continuation in admitted { continuation.resume() }
    }
}
