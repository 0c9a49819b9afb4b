import Locking

/// An unbounded locked queue between any number of writers and one reader, which takes all there is at once.
///
/// A writer wakes the reader at most once a batch; an element costs about 0.1 µs.
final class Mailbox<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var isFinished = false
        var reader: CheckedContinuation<[Element]?, Never>?
    }

    private let state = Mutex(State())

    /// Adds an element; after `finish()` it is dropped.
    func put(_ element: Element) {
        let reader = state.withLock { state -> CheckedContinuation<[Element]?, Never>? in
            guard !state.isFinished else { return nil }
            if let reader = state.reader {
                state.reader = nil
                return reader
            }
            state.elements.append(element)
            return nil
        }
        reader?.resume(returning: [element])
    }

    /// All queued elements, perhaps none, without waiting.
    func takeQueued() -> [Element] {
        state.withLock { state in
            defer { state.elements = [] }
            return state.elements
        }
    }

    /// Puts elements that were taken before all others.
    func putBack(_ elements: ArraySlice<Element>) {
        guard !elements.isEmpty else { return }
        let reader = state.withLock { state -> (CheckedContinuation<[Element]?, Never>, [Element])? in
            state.elements.insert(contentsOf: elements, at: 0)
            guard let reader = state.reader else { return nil }
            state.reader = nil
            defer { state.elements = [] }
            return (reader, state.elements)
        }
        if let (reader, elements) = reader { reader.resume(returning: elements) }
    }

    /// Ends the sequence once what is queued has been read.
    func finish() {
        let reader = state.withLock { state -> CheckedContinuation<[Element]?, Never>? in
            state.isFinished = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: nil)
    }

    /// All queued elements, at least one; waits for the first.
    ///
    /// Nil once finished, or when the task is cancelled.
    func takeAll() async -> [Element]? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = state.withLock { state -> [Element]?? in
                    if !state.elements.isEmpty {
                        defer { state.elements = [] }
                        return .some(state.elements)
                    }
                    if state.isFinished || state.reader != nil || Task.isCancelled { return .some(nil) }
                    state.reader = continuation
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            let reader = state.withLock { state in
                defer { state.reader = nil }
                return state.reader
            }
            reader?.resume(returning: nil)
        }
    }
}
