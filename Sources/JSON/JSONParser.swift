/// Recursive-descent JSON parser with bounded depth and number of values.
struct JSONParser {
    private let bytes: [UInt8]
    private var index = 0
    private var depth = 0
    private var count = 0

    /// No message of ours is more than five levels deep; deeper text only costs stack.
    static let maxDepth = 16
    private let maxValues: Int

    init(bytes: [UInt8], maxValues: Int) {
        self.bytes = bytes
        self.maxValues = maxValues
    }

    mutating func parseDocument() throws(JSONError) -> JSONValue {
        let value = try parseValue()
        skipWhiteSpace()
        guard index == bytes.count else { throw error("something after the end of the value") }
        return value
    }

    private func error(_ reason: String) -> JSONError { JSONError(reason: reason, offset: index) }

    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func skipWhiteSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard current == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    private mutating func parseValue() throws(JSONError) -> JSONValue {
        skipWhiteSpace()
        count += 1
        guard count <= maxValues else { throw error("more than \(maxValues) values") }
        switch current {
        case nil: throw error("the text ends where a value should be")
        case UInt8(ascii: "{"): return try nested { parser throws(JSONError) in try parser.parseObject() }
        case UInt8(ascii: "["): return try nested { parser throws(JSONError) in try parser.parseArray() }
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
        case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
        case UInt8(ascii: "n"): return try parseWord("null", .null)
        default: return .number(try parseNumber())
        }
    }

    private mutating func nested(
        _ body: (inout JSONParser) throws(JSONError) -> JSONValue
    ) throws(JSONError) -> JSONValue {
        depth += 1
        guard depth <= Self.maxDepth else { throw error("more than \(Self.maxDepth) levels") }
        index += 1
        let value = try body(&self)
        depth -= 1
        return value
    }

    private mutating func parseObject() throws(JSONError) -> JSONValue {
        var members: [String: JSONValue] = [:]
        skipWhiteSpace()
        if take("}") { return .object(members) }
        while true {
            skipWhiteSpace()
            guard current == UInt8(ascii: "\"") else { throw error("a member of an object without a name") }
            let name = try parseString()
            skipWhiteSpace()
            guard take(":") else { throw error("a member's name without a colon") }
            // Two members of one name: which counts differs between readers, so none does.
            guard members.updateValue(try parseValue(), forKey: name) == nil else {
                throw error("two members of one name")
            }
            skipWhiteSpace()
            if take("}") { return .object(members) }
            guard take(",") else { throw error("an object without an end") }
        }
    }

    private mutating func parseArray() throws(JSONError) -> JSONValue {
        var elements: [JSONValue] = []
        skipWhiteSpace()
        if take("]") { return .array(elements) }
        while true {
            elements.append(try parseValue())
            skipWhiteSpace()
            if take("]") { return .array(elements) }
            guard take(",") else { throw error("an array without an end") }
        }
    }

    private mutating func parseWord(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        for scalar in word.description.unicodeScalars {
            guard take(scalar) else { throw error("an unknown word") }
        }
        return value
    }

    private mutating func parseString() throws(JSONError) -> String {
        index += 1
        var text: [UInt8] = []
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw error("a string that is not UTF-8")
                }
                return string
            case UInt8(ascii: "\\"):
                index += 1
                text.append(contentsOf: try parseEscape())
            case ..<0x20: throw error("a control character in a string")
            default:
                text.append(byte)
                index += 1
            }
        }
        throw error("a string without an end")
    }

    private mutating func parseEscape() throws(JSONError) -> [UInt8] {
        guard let byte = current else { throw error("a string without an end") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"):
            let unit = try parseHexadecimal()
            guard UTF16.isLeadSurrogate(unit) else {
                guard let scalar = Unicode.Scalar(unit) else { throw error("half a surrogate pair") }
                return Array(String(Character(scalar)).utf8)
            }
            guard take("\\"), take("u") else { throw error("half a surrogate pair") }
            let trail = try parseHexadecimal()
            guard UTF16.isTrailSurrogate(trail),
                let scalar = Unicode.Scalar(0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(trail) - 0xDC00))
            else { throw error("half a surrogate pair") }
            return Array(String(Character(scalar)).utf8)
        default: throw error("an unknown escape")
        }
    }

    private mutating func parseHexadecimal() throws(JSONError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("an escape without four hexadecimal digits")
            }
            value = value << 4 | UInt16(digit)
            index += 1
        }
        return value
    }

    /// `[ "-" ] int [ frac ] [ exp ]`, RFC 8259 §6.
    private mutating func parseNumber() throws(JSONError) -> Double {
        let start = index
        _ = take("-")
        if !take("0") { try parseDigits() }
        if take(".") { try parseDigits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try parseDigits()
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        guard let number = Double(text), number.isFinite else { throw error("a number out of range") }
        return number
    }

    private mutating func parseDigits() throws(JSONError) {
        let start = index
        while let byte = current, byte >= 0x30, byte <= 0x39 { index += 1 }
        guard index > start else { throw error("neither a value nor a digit") }
    }
}
