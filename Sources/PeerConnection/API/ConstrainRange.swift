/// What is wanted of a number: limits that must be kept, and a value to come near to.
///
/// A literal is the ideal value: `MediaTrackConstraints(width: 1280)`.
///
/// mediacapture-main, `ConstrainULongRange`, `ConstrainDoubleRange`
public struct ConstrainRange<Value: Comparable & Hashable & Sendable>: Hashable, Sendable {
    /// The only value that will do.
    public var exact: Value?
    /// The value to come as near to as the limits allow.
    public var ideal: Value?
    /// The least that will do.
    public var min: Value?
    /// The most that will do.
    public var max: Value?

    /// A constraint of any of its parts.
    public init(exact: Value? = nil, ideal: Value? = nil, min: Value? = nil, max: Value? = nil) {
        self.exact = exact
        self.ideal = ideal
        self.min = min
        self.max = max
    }

    /// The only value that will do.
    public static func exact(_ value: Value) -> Self { Self(exact: value) }
    /// The value to come near to.
    public static func ideal(_ value: Value) -> Self { Self(ideal: value) }
    /// Values that will do.
    public static func range(_ range: ClosedRange<Value>) -> Self {
        Self(min: range.lowerBound, max: range.upperBound)
    }

    /// Whether a value must be refused that does not fit.
    var isRequired: Bool { exact != nil || min != nil || max != nil }

    /// Whether a value fits.
    func isSatisfied(by value: Value) -> Bool {
        if let exact, value != exact { return false }
        if let min, value < min { return false }
        if let max, value > max { return false }
        return true
    }

    /// Whether no value at all can fit.
    var isContradictory: Bool {
        if let min, let max, min > max { return true }
        guard let exact else { return false }
        return exact < (min ?? exact) || exact > (max ?? exact)
    }

    /// The value nearest to the ideal one, or to `present`, within the limits; nil for no preference.
    func target(from present: Value) -> Value {
        if let exact { return exact }
        var value = ideal ?? present
        if let min, value < min { value = min }
        if let max, value > max { value = max }
        return value
    }
}

/// What is wanted of a whole number. mediacapture-main, Constrainable Pattern
public typealias ConstrainULong = ConstrainRange<Int>
/// What is wanted of a number. mediacapture-main, Constrainable Pattern
public typealias ConstrainDouble = ConstrainRange<Double>

extension ConstrainRange: ExpressibleByIntegerLiteral where Value: ExpressibleByIntegerLiteral {
    /// The ideal value.
    public init(integerLiteral value: Value.IntegerLiteralType) {
        self.init(ideal: Value(integerLiteral: value))
    }
}

extension ConstrainRange: ExpressibleByFloatLiteral where Value == Double {
    /// The ideal value.
    public init(floatLiteral value: Double) { self.init(ideal: value) }
}

/// What is wanted of something that is or is not. mediacapture-main, Constrainable Pattern
public struct ConstrainBoolean: Hashable, Sendable, ExpressibleByBooleanLiteral {
    /// The only value that will do.
    public var exact: Bool?
    /// The value to be had if it can.
    public var ideal: Bool?

    /// A constraint of any of its parts.
    public init(exact: Bool? = nil, ideal: Bool? = nil) {
        self.exact = exact
        self.ideal = ideal
    }

    /// The ideal value.
    public init(booleanLiteral value: Bool) { self.init(ideal: value) }

    /// The only value that will do.
    public static func exact(_ value: Bool) -> Self { Self(exact: value) }
    /// The value to be had if it can.
    public static func ideal(_ value: Bool) -> Self { Self(ideal: value) }
}

/// What is wanted of a name: one of several. mediacapture-main, Constrainable Pattern
public struct ConstrainDOMString: Hashable, Sendable, ExpressibleByStringLiteral, ExpressibleByArrayLiteral {
    /// The only values that will do; empty for no such limit.
    public var exact: [String]
    /// The values to be had if they can; empty for none.
    public var ideal: [String]

    /// A constraint of any of its parts.
    public init(exact: [String] = [], ideal: [String] = []) {
        self.exact = exact
        self.ideal = ideal
    }

    /// The ideal value.
    public init(stringLiteral value: String) { self.init(ideal: [value]) }
    /// The ideal values, one as good as the other.
    public init(arrayLiteral elements: String...) { self.init(ideal: elements) }

    /// The only values that will do.
    public static func exact(_ values: String...) -> Self { Self(exact: values) }
    /// The values to be had if they can.
    public static func ideal(_ values: String...) -> Self { Self(ideal: values) }
}
