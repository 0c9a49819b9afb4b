// Containers: media files as values and bytes. WebM (Matroska, RFC 9559, over EBML, RFC 8794) written and read, Ogg with
// Opus (RFC 3533, 7845) read. Nothing here opens a file: readers ask for bytes, the writer says which bytes go where.

/// The elements of WebM that are written or read here. RFC 9559 §5
package enum EBMLID {
    package static let ebml: UInt32 = 0x1A45_DFA3
    package static let docType: UInt32 = 0x4282
    package static let void: UInt32 = 0xEC
    package static let crc32: UInt32 = 0xBF
    package static let segment: UInt32 = 0x1853_8067
    package static let seekHead: UInt32 = 0x114D_9B74
    package static let seek: UInt32 = 0x4DBB
    package static let seekID: UInt32 = 0x53AB
    package static let seekPosition: UInt32 = 0x53AC
    package static let info: UInt32 = 0x1549_A966
    package static let timestampScale: UInt32 = 0x2A_D7B1
    package static let duration: UInt32 = 0x4489
    package static let title: UInt32 = 0x7BA9
    package static let muxingApp: UInt32 = 0x4D80
    package static let writingApp: UInt32 = 0x5741
    package static let tracks: UInt32 = 0x1654_AE6B
    package static let trackEntry: UInt32 = 0xAE
    package static let trackNumber: UInt32 = 0xD7
    package static let trackUID: UInt32 = 0x73C5
    package static let trackType: UInt32 = 0x83
    package static let flagLacing: UInt32 = 0x9C
    package static let defaultDuration: UInt32 = 0x23_E383
    package static let language: UInt32 = 0x22_B59C
    package static let codecID: UInt32 = 0x86
    package static let codecPrivate: UInt32 = 0x63A2
    package static let codecDelay: UInt32 = 0x56AA
    package static let seekPreRoll: UInt32 = 0x56BB
    package static let video: UInt32 = 0xE0
    package static let pixelWidth: UInt32 = 0xB0
    package static let pixelHeight: UInt32 = 0xBA
    package static let audio: UInt32 = 0xE1
    package static let samplingFrequency: UInt32 = 0xB5
    package static let channels: UInt32 = 0x9F
    package static let cluster: UInt32 = 0x1F43_B675
    package static let timestamp: UInt32 = 0xE7
    package static let simpleBlock: UInt32 = 0xA3
    package static let blockGroup: UInt32 = 0xA0
    package static let block: UInt32 = 0xA1
    package static let referenceBlock: UInt32 = 0xFB
    package static let cues: UInt32 = 0x1C53_BB6B
    package static let cuePoint: UInt32 = 0xBB
    package static let cueTime: UInt32 = 0xB3
    package static let cueTrackPositions: UInt32 = 0xB7
    package static let cueTrack: UInt32 = 0xF7
    package static let cueClusterPosition: UInt32 = 0xF1
    package static let attachments: UInt32 = 0x1941_A469
    package static let chapters: UInt32 = 0x1043_A770
    package static let tags: UInt32 = 0x1254_C367
}

/// Elements of EBML in a growing array. RFC 8794 §4-7
package struct EBMLWriter {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// A size that says "until the parent or the file ends", in eight bytes. RFC 8794 §6.2
    package static let unknownSize: [UInt8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]

    /// `size` in eight bytes, as it replaces an unknown one.
    package static func longSize(_ size: Int) -> [UInt8] {
        bigEndian(UInt64(clamping: min(size, 1 << 55)) | 0x0100_0000_0000_0000, byteCount: 8)
    }

    package mutating func write(_ content: some Sequence<UInt8>) { bytes.append(contentsOf: content) }

    /// The identifier, which holds its own length mark.
    package mutating func write(id: UInt32) {
        write(Self.bigEndian(UInt64(id), byteCount: id > 0xFF_FFFF ? 4 : id > 0xFFFF ? 3 : id > 0xFF ? 2 : 1))
    }

    /// A size in as few bytes as hold it; all ones are left for "unknown".
    package mutating func write(size: Int) {
        let size = UInt64(clamping: size)
        var length = 1
        while length < 8, size >= (1 << (7 * UInt64(length))) - 1 { length += 1 }
        write(Self.bigEndian(size | 1 << (7 * UInt64(length)), byteCount: length))
    }

    package mutating func write(_ id: UInt32, _ content: [UInt8]) {
        write(id: id)
        write(size: content.count)
        write(content)
    }

    package mutating func write(_ id: UInt32, _ value: UInt64) {
        var length = 1
        while length < 8, value >> (8 * UInt64(length)) != 0 { length += 1 }
        write(id, Self.bigEndian(value, byteCount: length))
    }

    package mutating func write(_ id: UInt32, _ text: String) { write(id, Array(text.utf8)) }

    package mutating func write(_ id: UInt32, _ value: Double) {
        write(id, Self.bigEndian(value.bitPattern, byteCount: 8))
    }

    package mutating func write(_ id: UInt32, _ build: (inout EBMLWriter) -> Void) {
        var inner = EBMLWriter()
        build(&inner)
        write(id, inner.bytes)
    }

    /// An element of `byteCount` bytes in all, 2 or more, that readers skip; it can be written over later.
    package mutating func write(voidOf byteCount: Int) {
        guard byteCount >= 2 else { return }
        write(id: EBMLID.void)
        let length = byteCount - 2 < 0x7F ? 1 : 8
        let content = max(0, byteCount - 1 - length)
        write(length == 1 ? [UInt8(content) | 0x80] : Self.longSize(content))
        bytes.append(contentsOf: repeatElement(0, count: content))
    }

    static func bigEndian(_ value: UInt64, byteCount: Int) -> [UInt8] {
        (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64(byteCount - 1 - $0))) }
    }
}
