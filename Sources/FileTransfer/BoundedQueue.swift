internal import Locking

/// A queue between two tasks that holds a bounded number of bytes: the producer waits when it is full.
final class BoundedQueue<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var cost = 0
        var isFinished = false
        var producer: CheckedContinuation<Void, Never>?
        var consumer: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    private let limit: Int

    /// - Parameter limit: the cost at which the producer waits.
    init(limit: Int) { self.limit = limit }

    /// Adds an element and waits while the queue is full.
    ///
    /// - Returns: false if the queue is finished or the task was cancelled.
    func push(_ element: Element, cost: Int) async -> Bool {
        let (consumer, isOpen, isFull) = state.withLock { state -> (CheckedContinuation<Void, Never>?, Bool, Bool) in
            guard !state.isFinished else { return (nil, false, false) }
            state.elements.append(element)
            state.cost += cost
            defer { state.consumer = nil }
            return (state.consumer, true, state.cost >= limit)
        }
        consumer?.resume()
        guard isOpen else { return false }
        guard isFull else { return true }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goesOn = state.withLock { state -> Bool in
                    if state.cost < limit || state.isFinished || Task.isCancelled { return true }
                    state.producer = continuation
                    return false
                }
                if goesOn { continuation.resume() }
            }
        } onCancel: {
            state.withLock { state in
                defer { state.producer = nil }
                return state.producer
            }?.resume()
        }
        return !Task.isCancelled && !state.withLock { $0.isFinished }
    }

    /// All that waits, at least one element.
    ///
    /// - Returns: nil if the queue is finished and empty, or the task was cancelled.
    func popAll() async -> [Element]? {
        while true {
            let (elements, isFinished, producer) = state.withLock {
                state -> ([Element], Bool, CheckedContinuation<Void, Never>?) in
                defer {
                    state.elements = []
                    state.cost = 0
                    state.producer = nil
                }
                return (state.elements, state.isFinished, state.producer)
            }
            producer?.resume()
            if !elements.isEmpty { return elements }
            if isFinished || Task.isCancelled { return nil }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let goesOn = state.withLock { state -> Bool in
                        if !state.elements.isEmpty || state.isFinished || Task.isCancelled { return true }
                        state.consumer = continuation
                        return false
                    }
                    if goesOn { continuation.resume() }
                }
            } onCancel: {
                state.withLock { state in
                    defer { state.consumer = nil }
                    return state.consumer
                }?.resume()
            }
        }
    }

    /// Nothing more comes; what waits can still be taken.
    func finish() {
        let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.isFinished = true
            defer {
                state.producer = nil
                state.consumer = nil
            }
            return [state.producer, state.consumer].compactMap { $0 }
        }
        for continuation in waiting { continuation.resume() }
    }
}
