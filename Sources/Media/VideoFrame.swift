// Media: pictures and sound, and the codecs between them and bytes.
//
// Pictures are I420, immutable and shared by reference; sound is 16-bit PCM. Encoders and decoders own one C context
// each and belong to one thread at a time. Devices and files are in Capture, networks elsewhere.

internal import Locking

/// A picture in I420 (planar YUV 4:2:0, BT.601 limited range): immutable, shared by reference, safe to hand to any
/// thread.
///
/// Its memory returns to the pool it came from with the last reference.
@safe public final class VideoFrame: Sendable {
    /// Width in pixels, 1 to 16 384.
    public let width: Int
    /// Height in pixels, 1 to 16 384.
    public let height: Int
    /// Capture time in nanoseconds of the monotonic clock.
    public let timestampNanoseconds: Int64
    /// How far the picture must be turned before it is shown; planes, width and height are those before that.
    public let rotation: VideoRotation
    /// Bytes between the starts of two rows of Y.
    public let strideY: Int
    /// Bytes between the starts of two rows of U, and of V.
    public let strideUV: Int

    /// Written before the frame is shared, read only afterwards; freed in `deinit`.
    nonisolated(unsafe) private let storage: UnsafeMutableRawBufferPointer
    private let pool: VideoFramePool?
    /// The frame whose memory this one shares, if it has none of its own.
    private let owner: VideoFrame?

    /// The largest width and height.
    public static let dimensionLimit = 16_384

    /// Half the width, rounded up: the width of U and V.
    public var chromaWidth: Int { (width + 1) / 2 }
    /// Half the height, rounded up: the height of U and V.
    public var chromaHeight: Int { (height + 1) / 2 }

    /// A picture that `fill` writes.
    ///
    /// - Parameters:
    ///   - width: 1 ... ``dimensionLimit``.
    ///   - height: 1 ... ``dimensionLimit``.
    ///   - timestampNanoseconds: capture time, monotonic clock.
    ///   - rotation: how far it must be turned before it is shown.
    ///   - pool: where the memory comes from and returns to; nil allocates it.
    ///   - fill: writes the three planes, `stride × rows` bytes each.
    /// - Throws: `MediaError.invalidArgument` for sizes out of range.
    public init(
        width: Int,
        height: Int,
        timestampNanoseconds: Int64,
        rotation: VideoRotation = .none,
        pool: VideoFramePool? = nil,
        fill: (_ planes: borrowing Planes) throws(MediaError) -> Void
    ) throws(MediaError) {
        guard (1...Self.dimensionLimit).contains(width), (1...Self.dimensionLimit).contains(height) else {
            throw MediaError(
                .invalidArgument,
                "video frame",
                "\(width)x\(height) is not in 1 ... \(Self.dimensionLimit)"
            )
        }
        self.width = width
        self.height = height
        self.timestampNanoseconds = timestampNanoseconds
        self.rotation = rotation
        strideY = (width + 31) & ~31
        strideUV = strideY / 2
        self.pool = pool
        owner = nil
        let byteCount = strideY * height + 2 * strideUV * ((height + 1) / 2)
        unsafe storage = pool?.take(byteCount) ?? .allocate(byteCount: byteCount, alignment: 32)
        try fill(unsafe Planes(storage: storage, strideY: strideY, strideUV: strideUV, height: height))
    }

    deinit {
        guard owner == nil else { return }
        if let pool { unsafe pool.give(storage) } else { unsafe storage.deallocate() }
    }

    /// The planes while they are being written, or read.
    @safe public struct Planes: ~Copyable {
        /// Luma, `strideY × height` bytes.
        public let y: UnsafeMutablePointer<UInt8>
        /// Blue difference, `strideUV × chromaHeight` bytes.
        public let u: UnsafeMutablePointer<UInt8>
        /// Red difference, `strideUV × chromaHeight` bytes.
        public let v: UnsafeMutablePointer<UInt8>
        /// Bytes a row of Y.
        public let strideY: Int
        /// Bytes a row of U and V.
        public let strideUV: Int

        init(storage: UnsafeMutableRawBufferPointer, strideY: Int, strideUV: Int, height: Int) {
            let bytes = unsafe storage.bindMemory(to: UInt8.self)
            // The buffer is never empty: width and height are at least 1.
            let base = unsafe bytes.baseAddress.unsafelyUnwrapped
            unsafe y = base
            unsafe u = base + strideY * height
            unsafe v = base + strideY * height + strideUV * ((height + 1) / 2)
            self.strideY = strideY
            self.strideUV = strideUV
        }
    }

    /// Calls `body` with the planes, for reading only.
    public func withPlanes<Result, Failure: Error>(
        _ body: (_ planes: borrowing Planes) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafe Planes(storage: storage, strideY: strideY, strideUV: strideUV, height: height))
    }

    /// The same picture with another time; shares the memory.
    public func retimed(_ timestampNanoseconds: Int64) -> VideoFrame {
        VideoFrame(sharing: self, timestampNanoseconds: timestampNanoseconds)
    }

    private init(sharing other: VideoFrame, timestampNanoseconds: Int64) {
        width = other.width
        height = other.height
        strideY = other.strideY
        strideUV = other.strideUV
        rotation = other.rotation
        self.timestampNanoseconds = timestampNanoseconds
        pool = nil
        owner = other.owner ?? other
        unsafe storage = other.storage
    }

    /// The sample of Y, U and V at a pixel, which must lie inside.
    public func sample(x: Int, y: Int) -> (y: UInt8, u: UInt8, v: UInt8) {
        let x = min(max(0, x), width - 1)
        let y = min(max(0, y), height - 1)
        return withPlanes { planes in
            unsafe (
                planes.y[y * strideY + x], planes.u[y / 2 * strideUV + x / 2], planes.v[y / 2 * strideUV + x / 2]
            )
        }
    }
}

/// Memory of frames that are gone, kept for the next ones of the same size.
///
/// Usable from any thread.
public final class VideoFramePool: Sendable {
    @safe private struct State {
        var byteCount = 0
        var free: [UnsafeMutableRawBufferPointer] = unsafe []
    }

    /// Buffers that are kept; a pipeline holds few frames at a time.
    private static let limit = 8
    /// Guarded by the mutex.
    private let state = Mutex(State())

    /// An empty pool.
    public init() {}

    deinit {
        state.withLock { state in unsafe state.free.forEach { unsafe $0.deallocate() } }
    }

    func take(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        let reused = state.withLock { state -> UInt in
            guard state.byteCount == byteCount, let buffer = unsafe state.free.popLast() else { return 0 }
            return UInt(bitPattern: buffer.baseAddress)
        }
        if let address = unsafe UnsafeMutableRawPointer(bitPattern: reused) {
            return unsafe UnsafeMutableRawBufferPointer(start: address, count: byteCount)
        }
        return .allocate(byteCount: byteCount, alignment: 32)
    }

    func give(_ buffer: UnsafeMutableRawBufferPointer) {
        let address = UInt(bitPattern: buffer.baseAddress)
        let byteCount = buffer.count
        state.withLock { state in
            guard let start = unsafe UnsafeMutableRawPointer(bitPattern: address) else { return }
            let buffer = unsafe UnsafeMutableRawBufferPointer(start: start, count: byteCount)
            if state.byteCount != byteCount {
                unsafe state.free.forEach { unsafe $0.deallocate() }
                unsafe state.free = []
                state.byteCount = byteCount
            }
            if unsafe state.free.count < Self.limit {
                unsafe state.free.append(buffer)
            } else {
                unsafe buffer.deallocate()
            }
        }
    }
}
