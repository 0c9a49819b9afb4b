package import SansIO

/// A message of multicast DNS, as far as addresses of hosts need it.
///
/// RFC 1035 §4.1, RFC 6762 §18
package struct DNSMessage: Hashable, Sendable {
    /// What is asked for or told; other types pass as what they are.
    package struct RecordType: RawRepresentable, Hashable, Sendable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }

        package static let a = RecordType(rawValue: 1)
        package static let aaaa = RecordType(rawValue: 28)
        package static let nsec = RecordType(rawValue: 47)
        package static let any = RecordType(rawValue: 255)
    }

    package struct Question: Hashable, Sendable {
        package var name: DNSName
        package var type: RecordType
        /// Whether the asker wants the answer for itself alone (RFC 6762 §5.4).
        package var wantsUnicast: Bool

        package init(name: DNSName, type: RecordType, wantsUnicast: Bool = false) {
            self.name = name
            self.type = type
            self.wantsUnicast = wantsUnicast
        }
    }

    package struct Record: Hashable, Sendable {
        package enum Content: Hashable, Sendable {
            /// A or AAAA.
            case address(IPAddress)
            /// Which types of its name there are (RFC 6762 §6.1); no others.
            case existing([RecordType])
            /// Of a type that is of no use here.
            case other(RecordType)
        }

        package var name: DNSName
        package var content: Content
        /// Seconds; 0 is a farewell (RFC 6762 §10.1).
        package var timeToLive: UInt32
        /// Whether this is all there is of its name and type (RFC 6762 §10.2).
        package var flushesCache: Bool

        package init(name: DNSName, content: Content, timeToLive: UInt32, flushesCache: Bool) {
            self.name = name
            self.content = content
            self.timeToLive = timeToLive
            self.flushesCache = flushesCache
        }
    }

    package var id: UInt16 = 0
    package var isResponse: Bool
    /// Whether more known answers follow in another message (RFC 6762 §7.2).
    package var isTruncated = false
    package var questions: [Question] = []
    package var answers: [Record] = []
    package var additionals: [Record] = []

    package init(isResponse: Bool) { self.isResponse = isResponse }

    /// Reads a message.
    ///
    /// It is read whole or not at all; bytes after the last entry are passed over, as are records of authorities and what
    /// is of another class than IN.
    ///
    /// - Throws: `DNSError` with what is wrong.
    package init(_ bytes: RawSpan) throws(DNSError) {
        guard bytes.byteCount <= Self.byteLimit else { throw .tooLong(byteCount: bytes.byteCount) }
        var reader = ByteReader(bytes)
        guard let id = reader.readUInt16(), let flags = reader.readUInt16(), let questionCount = reader.readUInt16(),
            let answerCount = reader.readUInt16(), let authorityCount = reader.readUInt16(),
            let additionalCount = reader.readUInt16()
        else { throw .truncated }
        // RFC 6762 §18.3, §18.11: messages with another opcode or response code are ignored.
        guard flags & 0x780F == 0 else { throw .unsupported(flags: flags) }
        let total = Int(questionCount) + Int(answerCount) + Int(authorityCount) + Int(additionalCount)
        guard total <= Self.entryLimit else { throw .tooManyEntries(count: total) }
        self.id = id
        isResponse = flags & 0x8000 != 0
        isTruncated = flags & 0x0200 != 0
        for _ in 0..<questionCount {
            guard let name = DNSName(&reader, in: bytes) else { throw .malformedName(offset: reader.offset) }
            guard let type = reader.readUInt16(), let classBits = reader.readUInt16() else { throw .truncated }
            guard Self.isInternet(classBits, acceptsAny: true) else { continue }
            questions.append(
                Question(name: name, type: RecordType(rawValue: type), wantsUnicast: classBits & Self.topBit != 0)
            )
        }
        for _ in 0..<answerCount {
            if let record = try Self.readRecord(&reader, in: bytes) { answers.append(record) }
        }
        for _ in 0..<authorityCount { _ = try Self.readRecord(&reader, in: bytes) }
        for _ in 0..<additionalCount {
            if let record = try Self.readRecord(&reader, in: bytes) { additionals.append(record) }
        }
    }

    /// - Returns: nil for a record of another class.
    private static func readRecord(_ reader: inout ByteReader, in bytes: RawSpan) throws(DNSError) -> Record? {
        guard let name = DNSName(&reader, in: bytes) else { throw .malformedName(offset: reader.offset) }
        guard let number = reader.readUInt16(), let classBits = reader.readUInt16(),
            let timeToLive = reader.readUInt32(), let length = reader.readUInt16(),
            let data = reader.readSpan(Int(length))
        else { throw .truncated }
        let type = RecordType(rawValue: number)
        let content: Record.Content
        switch (type, data.byteCount) {
        case (.a, 4): content = .address(IPAddress(v4: data.uint32(at: 0)))
        case (.aaaa, 16): content = .address(IPAddress(v6High: data.uint64(at: 0), v6Low: data.uint64(at: 8)))
        case (.a, _), (.aaaa, _): throw .malformedAddress(byteCount: data.byteCount)
        default: content = .other(type)
        }
        guard isInternet(classBits, acceptsAny: false) else { return nil }
        return Record(
            name: name,
            content: content,
            timeToLive: timeToLive,
            flushesCache: classBits & topBit != 0
        )
    }

    private static func isInternet(_ classBits: UInt16, acceptsAny: Bool) -> Bool {
        let value = classBits & ~topBit
        return value == internetClass || acceptsAny && value == anyClass
    }

    /// The message in bytes, without compression: it has a name or two.
    package var bytes: [UInt8] {
        var writer = ByteWriter(reserving: 256)
        writer.write(id)
        // Responses are authoritative (RFC 6762 §18.4).
        writer.write((isResponse ? 0x8400 : 0) | (isTruncated ? 0x0200 : 0) as UInt16)
        writer.write(UInt16(clamping: questions.count))
        writer.write(UInt16(clamping: answers.count))
        writer.write(0 as UInt16)
        writer.write(UInt16(clamping: additionals.count))
        for question in questions.prefix(Int(UInt16.max)) {
            writer.write(question.name.wire)
            writer.write(question.type.rawValue)
            writer.write(Self.internetClass | (question.wantsUnicast ? Self.topBit : 0))
        }
        for record in answers.prefix(Int(UInt16.max)) { Self.write(record, to: &writer) }
        for record in additionals.prefix(Int(UInt16.max)) { Self.write(record, to: &writer) }
        return writer.bytes
    }

    private static func write(_ record: Record, to writer: inout ByteWriter) {
        writer.write(record.name.wire)
        writer.write(record.type.rawValue)
        writer.write(internetClass | (record.flushesCache ? topBit : 0))
        writer.write(record.timeToLive)
        switch record.content {
        case .address(let ip) where ip.isIPv4:
            writer.write(4 as UInt16)
            writer.write(UInt32(truncatingIfNeeded: ip.low))
        case .address(let ip):
            writer.write(16 as UInt16)
            writer.write(ip.high)
            writer.write(ip.low)
        case .existing(let types):
            // RFC 4034 §4.1: the next name, which is this one (RFC 6762 §6.1), and one block of bits.
            let numbers = types.map(\.rawValue).filter { $0 < 256 }
            var bits = [UInt8](repeating: 0, count: Int(numbers.max() ?? 0) / 8 + 1)
            for number in numbers { bits[Int(number) / 8] |= 0x80 >> UInt8(number % 8) }
            writer.write(UInt16(clamping: record.name.wire.count + 2 + bits.count))
            writer.write(record.name.wire)
            writer.write(0 as UInt8)
            writer.write(UInt8(clamping: bits.count))
            writer.write(bits)
        case .other: writer.write(0 as UInt16)
        }
    }

    private static let internetClass: UInt16 = 1
    private static let anyClass: UInt16 = 255
    /// The unicast-response bit of a question, the cache-flush bit of a record.
    private static let topBit: UInt16 = 0x8000
    /// RFC 6762 §17: "must not exceed 9000 bytes", headers of IP and UDP included.
    package static let byteLimit = 9_000
    /// Questions and records that are read from one message.
    package static let entryLimit = 512
}

extension DNSMessage.Record {
    package var type: DNSMessage.RecordType {
        switch content {
        case .address(let ip): ip.isIPv4 ? .a : .aaaa
        case .existing: .nsec
        case .other(let type): type
        }
    }
}
