import Locking
package import Testing

/// Keeps tests in virtual time apart from those that live in the real one.
///
/// usrsctp counts its ticks for all associations of the process, and OpenSSL and usrsctp read one clock: a test that
/// makes hours pass would end the connections of another. Tests in real time run side by side, a suite in virtual
/// time alone among all that have either trait.
package struct TimeSharing: SuiteTrait, TestScoping {
    fileprivate enum Kind { case real, virtual }

    fileprivate let kind: Kind

    @concurrent package func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        await TimeOwner.shared.acquire(kind)
        defer { TimeOwner.shared.release(kind) }
        try await function()
    }
}

extension Trait where Self == TimeSharing {
    /// The suite sets the process's clock and runs SCTP in its own time.
    package static var virtualTime: TimeSharing { TimeSharing(kind: .virtual) }
    /// The suite holds connections that live in real time.
    package static var realTime: TimeSharing { TimeSharing(kind: .real) }
}

/// Who has the process's time: some in real time, or one in virtual time.
///
/// First come, first served.
private final class TimeOwner: Sendable {
    static let shared = TimeOwner()

    /// More suites at once would be so slow on two cores that calls lose their pictures.
    private static let realLimit = 4

    private struct State {
        var realCount = 0
        var isVirtual = false
        var waiting: [(kind: TimeSharing.Kind, continuation: CheckedContinuation<Void, Never>)] = []

        mutating func take(_ kind: TimeSharing.Kind) -> Bool {
            switch kind {
            case .real:
                guard !isVirtual, realCount < TimeOwner.realLimit else { return false }
                realCount += 1
            case .virtual:
                guard !isVirtual, realCount == 0 else { return false }
                isVirtual = true
            }
            return true
        }
    }

    private let state = Mutex(State())

    func acquire(_ kind: TimeSharing.Kind) async {
        await withCheckedContinuation { continuation in
            let isTaken = state.withLock { state -> Bool in
                if state.waiting.isEmpty, state.take(kind) { return true }
                state.waiting.append((kind, continuation))
                return false
            }
            if isTaken { continuation.resume() }
        }
    }

    func release(_ kind: TimeSharing.Kind) {
        let next = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            switch kind {
            case .real: state.realCount -= 1
            case .virtual: state.isVirtual = false
            }
            var next: [CheckedContinuation<Void, Never>] = []
            while let first = state.waiting.first, state.take(first.kind) {
                next.append(first.continuation)
                state.waiting.removeFirst()
            }
            return next
        }
        for continuation in next { continuation.resume() }
    }
}
