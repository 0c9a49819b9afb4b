// JSON: texts that may be hostile, read and written (RFC 8259); shared by signalling and the transfer of files.

/// A JSON value, parsed from text that may be hostile: depth and number of values are bounded.
///
/// RFC 8259
package enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// Parses one JSON text; anything but white space after it is an error.
    ///
    /// - Parameters:
    ///   - bytes: the text, in UTF-8.
    ///   - maxValues: how many values it may hold, nested ones included.
    /// - Throws: what is wrong with it, and where.
    package init(parsing bytes: some Collection<UInt8>, maxValues: Int = 4_096) throws(JSONError) {
        var parser = JSONParser(bytes: Array(bytes), maxValues: maxValues)
        self = try parser.parseDocument()
    }

    /// The member of that name, or nil if this is no object or has none.
    package subscript(_ name: String) -> JSONValue? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    /// The text of a string value.
    package var string: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// The value of a number without fraction that is exact in a `Double`.
    package var integer: Int? {
        if case .number(let number) = self, number.magnitude <= 0x1p53 { Int(exactly: number) } else { nil }
    }

    /// The value of a Boolean.
    package var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// The elements of an array.
    package var array: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    /// Whether this is `null`.
    package var isNull: Bool { self == .null }

    /// This value as JSON text on one line, members sorted by name.
    package var text: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .number(let number):
            // JSON has no infinities and no NaN.
            if let integer { text += String(integer) } else { text += number.isFinite ? "\(number)" : "null" }
        case .string(let string): JSONString.write(string, to: &text)
        case .array(let elements):
            text += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { text += "," }
                element.write(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            // `type` comes first so that a person who reads a trace sees it first.
            let names = members.keys.sorted { $0 == "type" ? $1 != "type" : $1 != "type" && $0 < $1 }
            for (index, name) in names.enumerated() {
                if index > 0 { text += "," }
                JSONString.write(name, to: &text)
                text += ":"
                (members[name] ?? .null).write(to: &text)
            }
            text += "}"
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int) { self = .number(Double(value)) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(Dictionary(elements) { _, last in last })
    }
}

/// Why a text is not JSON, and at which byte.
package struct JSONError: Error, Hashable, Sendable {
    /// In words, as "a string without an end".
    package var reason: String
    /// Offset in bytes from the start of the text.
    package var offset: Int
}
