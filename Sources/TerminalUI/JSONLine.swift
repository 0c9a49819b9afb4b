internal import JSON

/// One JSON object on one line, its members in the order in which they were set.
///
/// ```swift
/// var line = JSONLine(event: "ready")
/// line["url"] = "http://127.0.0.1:8080/"
/// terminal.write(line.text)
/// ```
///
/// RFC 8259; the newline at the end makes it a line of JSON Lines.
package struct JSONLine: Hashable, Sendable {
    private var members: [Member] = []

    package init() {}

    /// An object whose first member is `"event"`.
    package init(event: String) {
        self["event"] = .string(event)
    }

    /// The member of this name; setting nil removes it.
    package subscript(name: String) -> Value? {
        get { members.first { $0.name == name }?.value }
        set {
            let index = members.firstIndex { $0.name == name }
            switch (index, newValue) {
            case (let index?, let value?): members[index].value = value
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append(Member(name: name, value: value))
            case (nil, nil): break
            }
        }
    }

    /// The object as text, with the newline.
    package var text: String { Value.object(members).text + "\n" }
}

extension JSONLine {
    /// A member of a JSON object.
    package struct Member: Hashable, Sendable {
        package var name: String
        package var value: Value

        package init(name: String, value: Value) {
            self.name = name
            self.value = value
        }
    }

    /// A value of a line, which keeps the order of what is in it.
    package enum Value: Hashable, Sendable {
        case null
        case bool(Bool)
        case integer(Int64)
        /// Infinities and not-a-number, which JSON lacks, are written as null.
        case number(Double)
        case string(String)
        case array([Value])
        case object([Member])

        /// This value without any line end.
        package var text: String {
            var text = ""
            append(to: &text)
            return text
        }

        private func append(to text: inout String) {
            switch self {
            case .null: text += "null"
            case .bool(let value): text += value ? "true" : "false"
            case .integer(let value): text += String(value)
            case .number(let value): text += value.isFinite ? String(describing: value) : "null"
            case .string(let value): JSONString.write(value, to: &text)
            case .array(let values):
                text += "["
                for (index, value) in values.enumerated() {
                    if index > 0 { text += "," }
                    value.append(to: &text)
                }
                text += "]"
            case .object(let members):
                text += "{"
                for (index, member) in members.enumerated() {
                    if index > 0 { text += "," }
                    JSONString.write(member.name, to: &text)
                    text += ":"
                    member.value.append(to: &text)
                }
                text += "}"
            }
        }
    }
}

extension JSONLine.Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(floatLiteral value: Double) { self = .number(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONLine.Value...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONLine.Value)...) {
        self = .object(elements.map { JSONLine.Member(name: $0.0, value: $0.1) })
    }
    package init(nilLiteral: ()) { self = .null }
}
