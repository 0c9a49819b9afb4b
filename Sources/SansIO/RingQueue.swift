/// A first-in first-out queue which keeps its memory, so that steady use does not allocate; unused it has none.
public struct RingQueue<Element> {
    /// A power of two of places, or none before the first element.
    @usableFromInline var storage: [Element?] = []
    @usableFromInline let minimumCapacity: Int
    @usableFromInline var head = 0
    /// Elements that wait.
    public private(set) var count = 0

    /// An empty queue whose first memory holds so many elements at least.
    @inlinable
    public init(minimumCapacity: Int = 16) {
        var capacity = 16
        while capacity < minimumCapacity { capacity *= 2 }
        self.minimumCapacity = capacity
    }

    /// Whether nothing waits.
    @inlinable public var isEmpty: Bool { count == 0 }

    /// The element that `popFirst()` would return.
    @inlinable public var first: Element? { count == 0 ? nil : storage[head] }

    /// Adds an element at the end.
    @inlinable
    public mutating func append(_ element: Element) {
        if count == storage.count { grow() }
        storage[(head + count) & (storage.count - 1)] = element
        setCount(count + 1)
    }

    /// Takes the oldest element out; nil if nothing waits.
    @inlinable
    public mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = storage[head]
        storage[head] = nil
        head = (head + 1) & (storage.count - 1)
        setCount(count - 1)
        return element
    }

    /// Removes the elements for which `predicate` holds; the others keep their order.
    @inlinable
    public mutating func removeAll(where predicate: (Element) -> Bool) {
        for _ in 0..<count {
            if let element = popFirst(), !predicate(element) { append(element) }
        }
    }

    @usableFromInline
    mutating func setCount(_ newCount: Int) { count = newCount }

    @usableFromInline
    mutating func grow() {
        let capacity = max(storage.count * 2, minimumCapacity)
        var larger: [Element?] = []
        larger.reserveCapacity(capacity)
        for index in 0..<count { larger.append(storage[(head + index) & (storage.count - 1)]) }
        while larger.count < capacity { larger.append(nil) }
        storage = larger
        head = 0
    }
}

extension RingQueue: Sendable where Element: Sendable {}
