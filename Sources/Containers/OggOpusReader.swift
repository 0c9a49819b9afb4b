/// Reads the packets of an Ogg file with one Opus stream, front to back. RFC 3533, RFC 7845
///
/// Every page is checked against its sum. Streams beside the first one of Opus are passed over.
package struct OggOpusReader<Source: ByteSource> {
    private var source: Source
    private var offset = 0
    private var serial: UInt32?
    /// Packets of the page that was read last.
    private var packets: [[UInt8]] = []
    private var next = 0
    /// The beginning of a packet that goes on in the next page.
    private var partial: [UInt8] = []
    private var hasEnded = false
    /// What the stream's first page says.
    package private(set) var head: OpusHead

    /// Longest packet that is taken in: 61 440 is the most that Opus can need. RFC 7845 §6
    private static var packetByteLimit: Int { 61_440 }
    private static var tagsByteLimit: Int { 4 << 20 }

    /// Reads up to the sound.
    package init(_ source: Source) throws(ContainerError) {
        self.source = source
        head = OpusHead(channelCount: 1)
        var found: OpusHead?
        // A stream of Opus that is of no use, unless another one follows.
        var unreadable: [UInt8]?
        // Each stream's first page comes before all others.
        while found == nil {
            guard let page = try nextPage(limit: Self.packetByteLimit) else { throw .notThisKind }
            guard page.isFirst else {
                throw .unsupported(unreadable.map { OpusHead.unreadable($0) } ?? "an Ogg file without Opus")
            }
            if let candidate = page.packets.first.flatMap({ OpusHead($0) }) {
                found = candidate
                serial = page.serial
            } else if let packet = page.packets.first, OpusHead.isOne(packet) {
                unreadable = packet
            }
        }
        if let found { head = found }
        // Title and artist may be long, and are of no use.
        guard try nextPacket(limit: Self.tagsByteLimit) != nil else { throw .cut(atByte: offset) }
    }

    /// The next packet; nil at the end.
    package mutating func nextPacket() throws(ContainerError) -> [UInt8]? {
        try nextPacket(limit: Self.packetByteLimit)
    }

    private mutating func nextPacket(limit: Int) throws(ContainerError) -> [UInt8]? {
        while next >= packets.count {
            if hasEnded { return nil }
            guard let page = try nextPage(limit: limit) else { throw .cut(atByte: offset) }
            guard page.serial == serial else { continue }
            var parts = page.packets
            if page.isContinued {
                if !parts.isEmpty { parts[0] = partial + parts[0] }
            } else if !partial.isEmpty {
                throw .malformed(atByte: offset, "a packet has no end")
            }
            partial = page.isOpen ? parts.popLast() ?? [] : []
            guard partial.count <= limit else { throw .malformed(atByte: offset, "a packet is too long") }
            packets = parts
            next = 0
            hasEnded = page.isLast
        }
        defer { next += 1 }
        return packets[next]
    }

    private struct Page {
        var packets: [[UInt8]]
        var serial: UInt32
        var isContinued: Bool
        /// Whether the last packet goes on in the next page.
        var isOpen: Bool
        var isFirst: Bool
        var isLast: Bool
    }

    private mutating func nextPage(limit: Int) throws(ContainerError) -> Page? {
        let start = offset
        let head = source.read(27)
        guard !head.isEmpty else { return nil }
        guard head.starts(with: Array("OggS".utf8)) else {
            if start == 0 { throw .notThisKind }
            throw .malformed(atByte: start, "no page begins here")
        }
        guard head.count == 27 else { throw .cut(atByte: start + head.count) }
        let table = source.read(Int(head[26]))
        let body = source.read(table.reduce(0) { $0 + Int($1) })
        offset += head.count + table.count + body.count
        guard table.count == Int(head[26]), body.count == table.reduce(0, { $0 + Int($1) }) else {
            throw .cut(atByte: offset)
        }
        let claimed = Self.littleEndian(head[22..<26])
        guard OggChecksum.of([head[..<22], [0, 0, 0, 0], head[26...], table[...], body[...]]) == claimed else {
            throw .malformed(atByte: start, "a page is altered")
        }
        var packets: [[UInt8]] = []
        var position = 0
        var packet: [UInt8] = []
        var isOpen = false
        for length in table {
            packet += body[position..<(position + Int(length))]
            position += Int(length)
            isOpen = length == 255
            if !isOpen {
                packets.append(packet)
                packet = []
            }
        }
        if isOpen { packets.append(packet) }
        return Page(
            packets: packets,
            serial: Self.littleEndian(head[14..<18]),
            isContinued: head[5] & 1 != 0,
            isOpen: isOpen,
            isFirst: head[5] & 2 != 0,
            isLast: head[5] & 4 != 0
        )
    }

    private static func littleEndian(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}

/// The sum over a page of Ogg: CRC-32 with the polynomial 0x04C11DB7, most significant bit first. RFC 3533 §6
enum OggChecksum {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index) << 24) { value, _ in
            value & 0x8000_0000 != 0 ? value << 1 ^ 0x04C1_1DB7 : value << 1
        }
    }

    static func of(_ parts: [ArraySlice<UInt8>]) -> UInt32 {
        var sum: UInt32 = 0
        for part in parts { for byte in part { sum = sum << 8 ^ table[Int(sum >> 24 ^ UInt32(byte))] } }
        return sum
    }
}
