/// Where a reader gets its bytes.
package protocol ByteSource {
    /// Up to `count` bytes from the front on; fewer only at the end.
    mutating func read(_ count: Int) -> [UInt8]
    /// Passes over bytes.
    ///
    /// - Returns: whether they were all there.
    mutating func skip(_ count: Int) -> Bool
}

/// Why a media file cannot be read on.
package enum ContainerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// It is of another kind.
    case notThisKind
    /// It ends in the middle of an element or page.
    case cut(atByte: Int)
    /// It breaks the format's rules.
    case malformed(atByte: Int, String)
    /// It follows them, and uses what is not read here.
    case unsupported(String)

    package var description: String {
        switch self {
        case .notThisKind: "is of another kind"
        case .cut(let offset): "is cut short: it ends in the middle, after \(offset) bytes"
        case .malformed(let offset, let what): "is damaged at byte \(offset): \(what)"
        case .unsupported(let what): "\(what) cannot be read"
        }
    }
}

/// Reads the frames of a WebM or Matroska file, front to back. RFC 9559
///
/// The file may be hostile: sizes are checked before anything is kept, and what is not needed is passed over.
package struct WebMReader<Source: ByteSource> {
    /// A track of the file.
    package struct Track: Hashable, Sendable {
        package var number = 0
        /// As `V_VP8`.
        package var codecID = ""
        package var isVideo = false
        package var isAudio = false
        package var width = 0
        package var height = 0
        package var channelCount = 1
        package var codecPrivate: [UInt8] = []
        fileprivate var isEncoded = false
    }

    /// A frame of a track.
    package struct Frame: Hashable, Sendable {
        package var track: Int
        package var nanoseconds: Int64
        package var payload: [UInt8]
        package var isKeyFrame: Bool
    }

    private struct Element {
        var id: UInt32
        /// nil if unknown.
        var byteCount: Int?
    }

    private var source: Source
    private var offset = 0
    /// Nanoseconds of a tick.
    private var scale: Int64 = 1_000_000
    private var clusterTicks: Int64 = 0
    private var segmentEnd: Int?
    /// The tracks, known once the reader is made.
    package private(set) var tracks: [Track] = []

    /// Largest element that is taken in whole.
    private static var byteLimit: Int { 16 << 20 }
    private static var trackLimit: Int { 32 }

    /// Reads up to the tracks.
    package init(_ source: Source) throws(ContainerError) {
        self.source = source
        guard let head = try? nextElement(), head.id == EBMLID.ebml, let byteCount = head.byteCount, byteCount < 4_096
        else { throw .notThisKind }
        let content = try take(byteCount)
        guard let type = Self.children(of: content[...])?.first(where: { $0.id == EBMLID.docType }),
            ["webm", "matroska"].contains(String(decoding: type.content, as: UTF8.self))
        else { throw .notThisKind }
        while tracks.isEmpty {
            guard let element = try nextElement() else { throw .cut(atByte: offset) }
            switch element.id {
            case EBMLID.segment:
                segmentEnd = element.byteCount.flatMap { offset.addingReportingOverflow($0).partialValue }
            case EBMLID.info: try readInfo(try take(element))
            case EBMLID.tracks: try readTracks(try take(element))
            case EBMLID.cluster: throw .malformed(atByte: offset, "frames come before the tracks")
            default: try skip(element)
            }
        }
    }

    /// The next frame of any track; nil at the end.
    package mutating func nextFrame() throws(ContainerError) -> Frame? {
        while let element = try nextElement() {
            switch element.id {
            // What they hold is of kinds of its own: no need to know where they end.
            case EBMLID.cluster, EBMLID.blockGroup, EBMLID.segment: continue
            case EBMLID.timestamp:
                guard let value = Self.number(try take(element)[...]), value < 1 << 50 else {
                    throw .malformed(atByte: offset, "a cluster's time")
                }
                clusterTicks = Int64(value)
            case EBMLID.simpleBlock, EBMLID.block:
                if let frame = try frame(of: try take(element), isSimple: element.id == EBMLID.simpleBlock) {
                    return frame
                }
            default: try skip(element)
            }
        }
        if let segmentEnd, offset < segmentEnd { throw .cut(atByte: offset) }
        return nil
    }

    // MARK: Elements

    private func frame(of block: [UInt8], isSimple: Bool) throws(ContainerError) -> Frame? {
        guard let (number, length) = Self.size(block[...]), let number, block.count >= length + 3 else {
            throw .malformed(atByte: offset, "a block without a head")
        }
        let ticks = Int64(Int16(bitPattern: UInt16(block[length]) << 8 | UInt16(block[length + 1])))
        let flags = block[length + 2]
        guard flags & 0x06 == 0 else { throw .unsupported("a file with several frames in one block (lacing)") }
        let (time, isOver) = (clusterTicks + ticks).multipliedReportingOverflow(by: scale)
        guard !isOver else { throw .malformed(atByte: offset, "a block's time") }
        return Frame(
            track: number,
            nanoseconds: max(0, time),
            payload: Array(block[(length + 3)...]),
            isKeyFrame: isSimple && flags & 0x80 != 0
        )
    }

    private mutating func readInfo(_ content: [UInt8]) throws(ContainerError) {
        guard let children = Self.children(of: content[...]) else { throw .malformed(atByte: offset, "its head") }
        for child in children where child.id == EBMLID.timestampScale {
            guard let value = Self.number(child.content), (1...1_000_000_000).contains(value) else {
                throw .malformed(atByte: offset, "its scale of time")
            }
            scale = Int64(value)
        }
    }

    private mutating func readTracks(_ content: [UInt8]) throws(ContainerError) {
        guard let entries = Self.children(of: content[...]) else { throw .malformed(atByte: offset, "its tracks") }
        for entry in entries where entry.id == EBMLID.trackEntry {
            guard tracks.count < Self.trackLimit, let fields = Self.children(of: entry.content) else {
                throw .malformed(atByte: offset, "a track")
            }
            var track = Track()
            for field in fields {
                switch field.id {
                case EBMLID.trackNumber: track.number = Int(clamping: Self.number(field.content) ?? 0)
                case EBMLID.trackType:
                    track.isVideo = Self.number(field.content) == 1
                    track.isAudio = Self.number(field.content) == 2
                case EBMLID.codecID: track.codecID = String(decoding: field.content, as: UTF8.self)
                case EBMLID.codecPrivate: track.codecPrivate = Array(field.content.prefix(4_096))
                case 0x6D80: track.isEncoded = true  // ContentEncodings
                case EBMLID.video:
                    for value in Self.children(of: field.content) ?? [] {
                        let number = Int(clamping: Self.number(value.content) ?? 0)
                        if value.id == EBMLID.pixelWidth { track.width = number }
                        if value.id == EBMLID.pixelHeight { track.height = number }
                    }
                case EBMLID.audio:
                    for value in Self.children(of: field.content) ?? [] where value.id == EBMLID.channels {
                        track.channelCount = Int(clamping: Self.number(value.content) ?? 1)
                    }
                default: break
                }
            }
            if track.isEncoded { throw .unsupported("a file with compressed or encrypted tracks") }
            tracks.append(track)
        }
        guard !tracks.isEmpty else { throw .malformed(atByte: offset, "no track") }
    }

    /// The next element's head; nil at the end of the file.
    private mutating func nextElement() throws(ContainerError) -> Element? {
        let first = source.read(1)
        guard let mark = first.first else { return nil }
        let idLength = mark.leadingZeroBitCount + 1
        guard idLength <= 4 else { throw .malformed(atByte: offset, "no element begins here") }
        let rest = source.read(idLength - 1)
        let sizeMark = source.read(1)
        guard rest.count == idLength - 1, let sizeFirst = sizeMark.first else { throw .cut(atByte: offset) }
        let sizeLength = sizeFirst.leadingZeroBitCount + 1
        guard sizeLength <= 8 else { throw .malformed(atByte: offset, "no size follows") }
        let sizeRest = source.read(sizeLength - 1)
        guard sizeRest.count == sizeLength - 1 else { throw .cut(atByte: offset) }
        offset += idLength + sizeLength
        let id = (first + rest).reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
        guard let (size, _) = Self.size((sizeMark + sizeRest)[...]) else {
            throw .malformed(atByte: offset, "no size follows")
        }
        return Element(id: id, byteCount: size)
    }

    private mutating func take(_ element: Element) throws(ContainerError) -> [UInt8] {
        guard let byteCount = element.byteCount, byteCount <= Self.byteLimit else {
            throw .malformed(atByte: offset, "an element of \(element.byteCount.map(String.init) ?? "unknown") bytes")
        }
        return try take(byteCount)
    }

    private mutating func take(_ count: Int) throws(ContainerError) -> [UInt8] {
        let bytes = source.read(count)
        offset += bytes.count
        guard bytes.count == count else { throw .cut(atByte: offset) }
        return bytes
    }

    private mutating func skip(_ element: Element) throws(ContainerError) {
        guard let byteCount = element.byteCount, byteCount <= 1 << 50, offset <= 1 << 60 else {
            throw .malformed(atByte: offset, "an element of unknown size")
        }
        guard source.skip(byteCount) else { throw .cut(atByte: offset) }
        offset += byteCount
    }

    // MARK: Content in memory

    /// A number of variable length: its value, nil for "unknown", and how many bytes it takes.
    private static func size(_ bytes: ArraySlice<UInt8>) -> (Int?, Int)? {
        guard let first = bytes.first else { return nil }
        let length = first.leadingZeroBitCount + 1
        guard length <= 8, bytes.count >= length else { return nil }
        var value = UInt64(first) & (0xFF >> UInt64(length))
        for byte in bytes.dropFirst().prefix(length - 1) { value = value << 8 | UInt64(byte) }
        return (value == (1 << (7 * UInt64(length))) - 1 ? nil : Int(value), length)
    }

    private static func children(of content: ArraySlice<UInt8>) -> [(id: UInt32, content: ArraySlice<UInt8>)]? {
        var rest = content
        var result: [(id: UInt32, content: ArraySlice<UInt8>)] = []
        while let mark = rest.first {
            let length = mark.leadingZeroBitCount + 1
            guard length <= 4, rest.count > length else { return nil }
            let id = rest.prefix(length).reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
            rest = rest.dropFirst(length)
            guard let (size, sizeLength) = size(rest), let size else { return nil }
            rest = rest.dropFirst(sizeLength)
            guard size <= rest.count else { return nil }
            result.append((id, rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        return result
    }

    private static func number(_ content: ArraySlice<UInt8>) -> UInt64? {
        guard content.count <= 8 else { return nil }
        return content.reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
    }
}
