internal import CDBus
internal import Glibc

/// An argument of a D-Bus message. D-Bus Specification, "Type System"
enum DBusValue {
    case boolean(Bool)
    /// An integer of any size but `u`; those of 64 bits without sign that do not fit are negative.
    case integer(Int64)
    case uint32(UInt32)
    case double(Double)
    case string(String)
    case objectPath(String)
    case signature(String)
    case descriptor(OwnedDescriptor)
    case structure([DBusValue])
    /// Of anything but dictionary entries.
    case array([DBusValue])
    /// `a{sv}`, and others whose keys are strings; of equal keys the last counts.
    case dictionary([String: DBusValue])

    /// A descriptor that is closed with its last owner.
    final class OwnedDescriptor: Sendable {
        let number: CInt
        init(_ number: CInt) { self.number = number }
        deinit { if number >= 0 { close(number) } }
        /// Another one for the same, which the caller closes; -1 if there are none left.
        func duplicate() -> CInt { fcntl(number, F_DUPFD_CLOEXEC, 0) }
    }

    var text: String? {
        switch self {
        case .string(let text), .objectPath(let text): text
        default: nil
        }
    }

    var number: UInt32? {
        guard case .uint32(let number) = self else { return nil }
        return number
    }

    var entries: [String: DBusValue]? {
        switch self {
        case .dictionary(let entries): entries
        // An empty array of entries and one of anything else look the same.
        case .array(let values) where values.isEmpty: [:]
        default: nil
        }
    }

    var elements: [DBusValue]? {
        switch self {
        case .array(let values): values
        case .dictionary(let entries) where entries.isEmpty: []
        default: nil
        }
    }

    var members: [DBusValue]? {
        guard case .structure(let values) = self else { return nil }
        return values
    }
}

/// Takes a message's arguments apart.
struct DBusReader {
    /// Values that are still taken: what a service may make us hold.
    private var budget = valueLimit

    /// All arguments, variants by what is in them.
    ///
    /// - Returns: nil if they are more, or deeper, than any that is expected.
    static func arguments(of message: OpaquePointer) -> [DBusValue]? {
        var reader = Self()
        var iterator = cdbus_iterator()
        unsafe cdbus_arguments(message, &iterator)
        return reader.values(&iterator, depth: 0)
    }

    private mutating func values(_ iterator: inout cdbus_iterator, depth: Int) -> [DBusValue]? {
        var values: [DBusValue] = []
        while unsafe cdbus_type(&iterator) != 0 {
            guard let value = value(&iterator, depth: depth) else { return nil }
            values.append(value)
            unsafe cdbus_advance(&iterator)
        }
        return values
    }

    private mutating func value(_ iterator: inout cdbus_iterator, depth: Int) -> DBusValue? {
        budget -= 1
        guard budget > 0, depth < Self.depthLimit, let type = UInt8(exactly: unsafe cdbus_type(&iterator)) else {
            return nil
        }
        switch Character(Unicode.Scalar(type)) {
        case "b": return .boolean(unsafe cdbus_number(&iterator) != 0)
        case "u": return .uint32(UInt32(truncatingIfNeeded: unsafe cdbus_number(&iterator)))
        case "y", "n", "q", "i", "x", "t": return .integer(unsafe cdbus_number(&iterator))
        case "d": return .double(unsafe cdbus_double(&iterator))
        case "s": return .string(unsafe String(cString: cdbus_text(&iterator)))
        case "o": return .objectPath(unsafe String(cString: cdbus_text(&iterator)))
        case "g": return .signature(unsafe String(cString: cdbus_text(&iterator)))
        case "h": return .descriptor(DBusValue.OwnedDescriptor(unsafe cdbus_take_descriptor(&iterator)))
        case "v":
            var inner = cdbus_iterator()
            unsafe cdbus_parts(&iterator, &inner)
            return value(&inner, depth: depth + 1)
        case "r":
            var inner = cdbus_iterator()
            unsafe cdbus_parts(&iterator, &inner)
            return values(&inner, depth: depth + 1).map { .structure($0) }
        case "a":
            var inner = cdbus_iterator()
            unsafe cdbus_parts(&iterator, &inner)
            if unsafe cdbus_type(&inner) == CInt(UInt8(ascii: "e")) { return dictionary(&inner, depth: depth + 1) }
            return values(&inner, depth: depth + 1).map { .array($0) }
        default: return nil
        }
    }

    private mutating func dictionary(_ iterator: inout cdbus_iterator, depth: Int) -> DBusValue? {
        var entries: [String: DBusValue] = [:]
        while unsafe cdbus_type(&iterator) != 0 {
            var inner = cdbus_iterator()
            unsafe cdbus_parts(&iterator, &inner)
            guard let pair = values(&inner, depth: depth + 1), pair.count == 2 else { return nil }
            // Keys of other types are of no use here.
            if let key = pair[0].text { entries[key] = pair[1] }
            unsafe cdbus_advance(&iterator)
        }
        return .dictionary(entries)
    }

    private static let valueLimit = 10_000
    private static let depthLimit = 16
}

extension DBusValue {
    /// Writes it behind a message's arguments; false without memory, or if it is not one of those that are sent.
    func append(to iterator: inout cdbus_iterator) -> Bool {
        switch self {
        case .boolean(let flag):
            return unsafe cdbus_append_number(&iterator, CInt(UInt8(ascii: "b")), flag ? 1 : 0) != 0
        case .uint32(let number): return unsafe cdbus_append_number(&iterator, CInt(UInt8(ascii: "u")), number) != 0
        case .string(let text): return unsafe cdbus_append_text(&iterator, CInt(UInt8(ascii: "s")), text) != 0
        case .objectPath(let path): return unsafe cdbus_append_text(&iterator, CInt(UInt8(ascii: "o")), path) != 0
        case .dictionary(let entries):
            return Self.part(&iterator, "a", "{sv}") { list in
                for (key, value) in entries {
                    let isWritten = Self.part(&list, "e", nil) { entry in
                        guard DBusValue.string(key).append(to: &entry), let signature = value.basicSignature else {
                            return false
                        }
                        return Self.part(&entry, "v", signature) { value.append(to: &$0) }
                    }
                    guard isWritten else { return false }
                }
                return true
            }
        default: return false
        }
    }

    private var basicSignature: String? {
        switch self {
        case .boolean: "b"
        case .uint32: "u"
        case .string: "s"
        case .objectPath: "o"
        default: nil
        }
    }

    private static func part(
        _ iterator: inout cdbus_iterator,
        _ type: Unicode.Scalar,
        _ signature: String?,
        _ write: (inout cdbus_iterator) -> Bool
    ) -> Bool {
        var inner = cdbus_iterator()
        let kind = CInt(type.value)
        let isOpen =
            if let signature {
                unsafe cdbus_open_part(&iterator, kind, signature, &inner) != 0
            } else {
                unsafe cdbus_open_part(&iterator, kind, nil, &inner) != 0
            }
        guard isOpen else { return false }
        let isWritten = write(&inner)
        return unsafe cdbus_close_part(&iterator, &inner) != 0 && isWritten
    }
}
