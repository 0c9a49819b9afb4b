/// How a frame is divided into payloads: as few as possible, all of one size except a shorter last.
///
/// Equal sizes let the datagrams of a frame leave as one train of UDP segmentation offload, and none is tiny.
package struct PayloadPartition: Hashable, Sendable {
    package let count: Int
    /// Bytes in each payload but the last.
    package let byteCount: Int
    private let frameByteCount: Int

    /// - Parameters:
    ///   - frameByteCount: bytes of the frame, at least 1.
    ///   - limit: most bytes of the frame in one payload, at least 1.
    package init(frameByteCount: Int, limit: Int) {
        self.frameByteCount = frameByteCount
        count = max((frameByteCount + limit - 1) / limit, 1)
        byteCount = (frameByteCount + count - 1) / count
    }

    /// The bytes of the frame that payload `index` carries.
    package subscript(index: Int) -> Range<Int> {
        let start = min(index * byteCount, frameByteCount)
        return start..<min(start + byteCount, frameByteCount)
    }
}
