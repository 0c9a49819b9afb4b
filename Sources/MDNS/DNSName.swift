internal import SansIO

/// A domain name: a run of labels, compared without regard to ASCII case.
///
/// RFC 1035 §3.1, RFC 6762 §16
package struct DNSName: Hashable, Sendable {
    /// The name as it stands in messages, without compression and in lower case: each label after its length, then 0.
    package let wire: [UInt8]

    /// The name of a text as `host.local`, with or without a dot at the end; nil if no such name can be.
    package init?(_ text: some StringProtocol) {
        var wire: [UInt8] = []
        var text = Substring(text).utf8
        if text.last == UInt8(ascii: ".") { text.removeLast() }
        guard !text.isEmpty, text.count < Self.byteLimit else { return nil }
        for label in text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard (1...Self.labelByteLimit).contains(label.count) else { return nil }
            wire.append(UInt8(label.count))
            for byte in label { wire.append(Self.lowercased(byte)) }
        }
        wire.append(0)
        guard wire.count <= Self.byteLimit else { return nil }
        self.wire = wire
    }

    /// Reads a name at the reader's place, compressed or not; nil if it is malformed.
    ///
    /// RFC 1035 §4.1.4: a pointer leads to "a prior occurance of the same name". Each one must lead further to the front
    /// than all before it, so that no chain of them is without end, and there are no more than a name has labels: a
    /// message of pointers to pointers would take hundreds of times as long to read as any other of its length.
    init?(_ reader: inout ByteReader, in message: RawSpan) {
        var wire: [UInt8] = []
        var earliest = reader.offset
        guard let next = Self.readLabels(&reader, into: &wire) else { return nil }
        var pointer = next
        var pointerCount = 0
        while let target = pointer {
            guard target < earliest, pointerCount < Self.pointerLimit else { return nil }
            pointerCount += 1
            earliest = target
            var other = ByteReader(message)
            other.offset = target
            guard let next = Self.readLabels(&other, into: &wire) else { return nil }
            pointer = next
        }
        self.wire = wire
    }

    /// Reads labels up to the name's end or a pointer.
    ///
    /// - Returns: nil if they are malformed; else the pointer's target, which is nil at the name's end.
    private static func readLabels(_ reader: inout ByteReader, into wire: inout [UInt8]) -> Int?? {
        while let length = reader.readUInt8() {
            switch length {
            case 0:
                wire.append(0)
                return .some(nil)
            case 1...UInt8(labelByteLimit):
                guard let label = reader.readBytes(Int(length)), wire.count + label.count + 2 <= byteLimit else {
                    return nil
                }
                wire.append(length)
                for byte in label { wire.append(lowercased(byte)) }
            case 0xC0...:
                guard let low = reader.readUInt8() else { return nil }
                return .some(Int(length & 0x3F) << 8 | Int(low))
            default: return nil  // reserved
            }
        }
        return nil
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }

    /// RFC 1035 §2.3.4: the whole name, with lengths and the root's 0.
    static let byteLimit = 255
    static let labelByteLimit = 63
    /// As many labels as a name has room for.
    package static let pointerLimit = 127
}

extension DNSName: CustomStringConvertible {
    /// The labels joined by dots, without one at the end; what is no printable ASCII as `?`.
    package var description: String {
        var text = ""
        var offset = 0
        while offset < wire.count, wire[offset] != 0 {
            let end = min(offset + 1 + Int(wire[offset]), wire.count)
            if !text.isEmpty { text += "." }
            for byte in wire[(offset + 1)..<end] {
                text.unicodeScalars.append((0x21..<0x7F).contains(byte) ? Unicode.Scalar(byte) : "?")
            }
            offset = end
        }
        return text
    }

    /// Whether this is a name of the local link: only multicast DNS is asked for it (RFC 6762 §3).
    package var isLocal: Bool { wire.count > Self.localSuffix.count && wire.suffix(7).elementsEqual(Self.localSuffix) }

    /// `local` and the root.
    private static let localSuffix: [UInt8] = [5] + Array("local".utf8) + [0]
}
