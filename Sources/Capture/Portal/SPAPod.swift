// PODs, in which PipeWire's formats and parameters are written: a size, a type, a body padded to 8 bytes, in the machine's
// byte order. Source: PipeWire's documentation, "SPA POD". The numbers are those of spa/utils/type.h and spa/param.

/// Writes objects of PipeWire's parameters.
struct SPAPodWriter {
    private(set) var bytes: [UInt8] = []

    /// An object with its properties.
    init(object type: UInt32, id: UInt32, _ properties: [(key: UInt32, value: Value)]) {
        var body = Self.words(type, id)
        for (key, value) in properties { body += Self.words(key, 0) + Self.pod(value) }
        bytes = Self.words(UInt32(body.count), SPAType.object) + body
    }

    /// What a property is, or may be.
    enum Value {
        case id(UInt32)
        case integer(UInt32)
        /// One of those, the first at best.
        case anyID([UInt32])
        /// Bits of which any may be set.
        case flags(UInt32)
        case range(best: UInt32, UInt32, UInt32)
        /// Of sizes, or of fractions: best, least, most.
        case rectangles(best: (UInt32, UInt32), (UInt32, UInt32), (UInt32, UInt32))
        case fractions(best: (UInt32, UInt32), (UInt32, UInt32), (UInt32, UInt32))
        case fraction(UInt32, UInt32)
    }

    private static func pod(_ value: Value) -> [UInt8] {
        switch value {
        case .id(let id): return single(SPAType.id, words(id))
        case .integer(let number): return single(SPAType.int, words(number))
        case .fraction(let numerator, let denominator): return single(SPAType.fraction, words(numerator, denominator))
        case .anyID(let ids): return choice(3, SPAType.id, 4, words([ids.first ?? 0] + ids))
        case .flags(let flags): return choice(4, SPAType.int, 4, words(flags))
        case .range(let best, let least, let most): return choice(1, SPAType.int, 4, words(best, least, most))
        case .rectangles(let best, let least, let most):
            return choice(1, SPAType.rectangle, 8, words(best.0, best.1, least.0, least.1, most.0, most.1))
        case .fractions(let best, let least, let most):
            return choice(1, SPAType.fraction, 8, words(best.0, best.1, least.0, least.1, most.0, most.1))
        }
    }

    private static func single(_ type: UInt32, _ body: [UInt8]) -> [UInt8] {
        words(UInt32(body.count), type) + padded(body)
    }

    private static func choice(_ kind: UInt32, _ type: UInt32, _ size: UInt32, _ values: [UInt8]) -> [UInt8] {
        let body = words(kind, 0, size, type) + values
        return words(UInt32(body.count), SPAType.choice) + padded(body)
    }

    private static func words(_ numbers: UInt32...) -> [UInt8] { words(numbers) }

    private static func words(_ numbers: [UInt32]) -> [UInt8] {
        numbers.flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> (byteShift($0))) } }
    }

    private static func byteShift(_ index: Int) -> UInt32 {
        UInt32(UInt16(1).littleEndian == 1 ? 8 * index : 8 * (3 - index))
    }

    private static func padded(_ body: [UInt8]) -> [UInt8] {
        body + [UInt8](repeating: 0, count: (8 - body.count % 8) % 8)
    }
}

enum SPAType {
    static let id: UInt32 = 3
    static let int: UInt32 = 4
    static let rectangle: UInt32 = 10
    static let fraction: UInt32 = 11
    static let object: UInt32 = 15
    static let choice: UInt32 = 19
}

/// Reads an object of PipeWire's parameters, whoever sent it.
struct SPAPodObject {
    /// As `Format`.
    let type: UInt32
    /// Each property's first value, as words: of a choice that is the best, or what was agreed on.
    private var properties: [UInt32: (type: UInt32, first: UInt32, second: UInt32?)] = [:]

    /// Takes an object apart.
    ///
    /// - Returns: nil for anything that is none, or does not end where it says.
    init?(_ bytes: [UInt8]) {
        guard let size = Self.word(bytes, at: 0), Self.word(bytes, at: 4) == SPAType.object,
            let type = Self.word(bytes, at: 8), size >= 8, Int(size) <= bytes.count - 8
        else { return nil }
        self.type = type
        let end = 8 + Int(size)
        var offset = 16
        while offset < end {
            // A key, flags, a value's size and type; then the value.
            guard end - offset >= 16, let key = Self.word(bytes, at: offset),
                let valueSize = Self.word(bytes, at: offset + 8), let valueType = Self.word(bytes, at: offset + 12),
                Int(valueSize) <= end - offset - 16
            else { return nil }
            let body = offset + 16
            properties[key] = Self.value(bytes, type: valueType, from: body, to: body + Int(valueSize))
            // The last one's padding may be left out.
            offset = body + (Int(valueSize) + 7) / 8 * 8
        }
    }

    /// An enumeration's value.
    func id(_ key: UInt32) -> UInt32? { properties[key].flatMap { $0.type == SPAType.id ? $0.first : nil } }

    /// A size.
    func rectangle(_ key: UInt32) -> (width: UInt32, height: UInt32)? {
        guard let value = properties[key], value.type == SPAType.rectangle, let second = value.second else {
            return nil
        }
        return (value.first, second)
    }

    private static func value(
        _ bytes: [UInt8],
        type: UInt32,
        from start: Int,
        to end: Int
    ) -> (type: UInt32, first: UInt32, second: UInt32?)? {
        guard type != SPAType.choice else {
            // Kind, flags, then the size and type of each value; a choice of choices is none.
            guard end - start >= 16, let size = word(bytes, at: start + 8), let inner = word(bytes, at: start + 12),
                inner != SPAType.choice, Int(size) <= end - start - 16
            else { return nil }
            return value(bytes, type: inner, from: start + 16, to: start + 16 + Int(size))
        }
        guard end - start >= 4, let first = word(bytes, at: start) else { return nil }
        return (type, first, end - start >= 8 ? word(bytes, at: start + 4) : nil)
    }

    private static func word(_ bytes: [UInt8], at offset: Int) -> UInt32? {
        guard offset >= 0, bytes.count - offset >= 4 else { return nil }
        let raw = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
        return UInt32(littleEndian: raw)
    }
}
