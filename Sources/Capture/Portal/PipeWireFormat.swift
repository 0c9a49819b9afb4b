internal import Media

/// The pictures of a PipeWire stream: their size, and where their colours are.
struct PipeWireFormat: Equatable {
    let layout: PixelLayout
    let width: Int
    let height: Int

    /// What was agreed on.
    ///
    /// - Parameter pod: an object Format, as PipeWire gave it.
    /// - Throws: `MediaError.notUsable` for what was not asked for, or is no format.
    init(pod: [UInt8]) throws(MediaError) {
        guard let object = SPAPodObject(pod), object.type == Self.formatObject, object.id(Self.mediaType) == Self.video,
            object.id(Self.mediaSubtype) == Self.raw
        else { throw Self.refusal("a format that cannot be read") }
        guard let number = object.id(Self.videoFormat),
            let layout = Self.layouts.first(where: { $0.numbers.contains(number) })?.layout
        else { throw Self.refusal("pixels of another form than 32 bits with 8 of each colour") }
        let limits = 1...UInt32(VideoFrame.dimensionLimit)
        guard let size = object.rectangle(Self.videoSize) else { throw Self.refusal("a format without a size") }
        guard limits.contains(size.width), limits.contains(size.height) else {
            throw Self.refusal(
                "pictures of \(size.width)x\(size.height), and from 1 to \(limits.upperBound) each way can be captured"
            )
        }
        self.layout = layout
        width = Int(size.width)
        height = Int(size.height)
    }

    /// A format with its parts.
    init(layout: PixelLayout, width: Int, height: Int) {
        self.layout = layout
        self.width = width
        self.height = height
    }

    private static func refusal(_ words: String) -> MediaError {
        MediaError(.notUsable, "screen", "the desktop gives \(words): share another monitor or window")
    }

    /// Where a picture lies in a buffer.
    struct Place: Equatable {
        /// Of the first pixel.
        var offset: Int
        var bytesPerRow: Int
        var width: Int
        var height: Int
    }

    /// Finds the picture in a buffer.
    ///
    /// - Parameters:
    ///   - capacity: bytes that can be read.
    ///   - offset: where the picture begins, as the sender says.
    ///   - size: how many bytes it has, as the sender says.
    ///   - stride: bytes a row, as the sender says.
    ///   - crop: the part that counts, as the sender says; of no size if all does.
    /// - Returns: nil unless all of it lies inside both what the sender says and what can be read.
    func place(
        capacity: Int,
        offset: UInt32,
        size: UInt32,
        stride: Int32,
        crop: PixelRectangle = PixelRectangle(x: 0, y: 0, width: 0, height: 0)
    ) -> Place? {
        let row = width * 4
        // Some senders leave it out when rows follow each other.
        let bytesPerRow = stride == 0 ? row : Int(stride)
        guard bytesPerRow >= row, bytesPerRow <= Self.strideLimit else { return nil }
        // At most 2^14 · 2^20.
        let needed = bytesPerRow * (height - 1) + row
        guard Int(size) >= needed, Int(offset) <= capacity, capacity - Int(offset) >= needed else { return nil }
        guard !crop.isEmpty else {
            return Place(offset: Int(offset), bytesPerRow: bytesPerRow, width: width, height: height)
        }
        let part = crop.intersection(PixelRectangle(x: 0, y: 0, width: width, height: height))
        // A part that is not inside is no part of this picture.
        guard part == crop else { return nil }
        return Place(
            offset: Int(offset) + part.y * bytesPerRow + part.x * 4,
            bytesPerRow: bytesPerRow,
            width: part.width,
            height: part.height
        )
    }

    // MARK: What is asked for

    /// An object EnumFormat: all that can be turned into I420, at no more than a rate.
    static func wish(framesPerSecond: Double) -> [UInt8] {
        // Compositors know whole numbers from 1 on; what comes too often is thinned out here.
        let most = UInt32(min(max(1, framesPerSecond.rounded(.up)), 1_000))
        return SPAPodWriter(
            object: formatObject,
            id: 3,
            [
                (mediaType, .id(video)), (mediaSubtype, .id(raw)), (videoFormat, .anyID(layouts.flatMap(\.numbers))),
                (
                    videoSize,
                    .rectangles(
                        best: (1920, 1080),
                        (1, 1),
                        (UInt32(VideoFrame.dimensionLimit), UInt32(VideoFrame.dimensionLimit))
                    )
                ),
                // 0: as things change.
                (videoFrameRate, .fractions(best: (0, 1), (0, 1), (1_000, 1))),
                (videoMaximumFrameRate, .fractions(best: (most, 1), (0, 1), (most, 1))),
            ]
        ).bytes
    }

    /// An object Buffers: memory of this machine that can be read.
    ///
    /// Without a modifier in the format none comes from a graphics card.
    static var buffers: [UInt8] {
        SPAPodWriter(
            object: 0x40004,
            id: 5,
            // MemPtr and MemFd.
            [(1, .range(best: 4, 2, 16)), (6, .flags(1 << 1 | 1 << 2))]
        ).bytes
    }

    /// An object Meta: times and marks of damage.
    static var header: [UInt8] { meta(1, byteCount: 32) }
    /// An object Meta: the part of the picture that counts.
    static var crop: [UInt8] { meta(2, byteCount: 16) }

    private static func meta(_ type: UInt32, byteCount: UInt32) -> [UInt8] {
        SPAPodWriter(object: 0x40005, id: 6, [(1, .id(type)), (2, .integer(byteCount))]).bytes
    }

    /// Numbers of SPA_VIDEO_FORMAT, with unused bytes and with alpha.
    private static let layouts: [(layout: PixelLayout, numbers: [UInt32])] = [
        (.bgrx, [8, 12]), (.rgbx, [7, 11]), (.xrgb, [9, 13]), (.xbgr, [10, 14]),
    ]
    private static let formatObject: UInt32 = 0x40003
    private static let mediaType: UInt32 = 1
    private static let mediaSubtype: UInt32 = 2
    private static let videoFormat: UInt32 = 0x20001
    private static let videoSize: UInt32 = 0x20003
    private static let videoFrameRate: UInt32 = 0x20004
    private static let videoMaximumFrameRate: UInt32 = 0x20005
    private static let video: UInt32 = 2
    private static let raw: UInt32 = 1
    /// No row is longer: 16 times the widest picture's.
    private static let strideLimit = 1 << 20
}
