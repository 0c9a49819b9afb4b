internal import CPipeWire
internal import Glibc
internal import Media

/// Pictures of one node of PipeWire; belongs to one thread at a time.
@safe final class PipeWireStream {
    private let handle: OpaquePointer  // cpipewire *
    private let pool: VideoFramePool
    private var formatCount: UInt32 = 0
    /// What was agreed on; nil before.
    private(set) var format: PipeWireFormat?
    /// Pictures that did not lie in their buffers, were empty or marked as damaged.
    private var refused = 0

    /// Asks for a node's pictures.
    ///
    /// - Parameters:
    ///   - remote: a connection to PipeWire, which is closed with the stream.
    ///   - node: whose pictures.
    ///   - framesPerSecond: pictures a second, at most, as far as the sender can keep it.
    ///   - pool: where the pictures' memory comes from.
    /// - Throws: `MediaError.notUsable` with what to do, as without libpipewire.
    init(remote: CInt, node: UInt32, framesPerSecond: Double, pool: VideoFramePool) throws(MediaError) {
        self.pool = pool
        do throws(MediaError) { try Self.load() } catch {
            close(remote)
            throw error
        }
        let wish = PipeWireFormat.wish(framesPerSecond: framesPerSecond)
        let (buffers, header, crop) = (PipeWireFormat.buffers, PipeWireFormat.header, PipeWireFormat.crop)
        var number: CInt = 0
        guard
            let handle = unsafe cpipewire_open(
                remote,
                node,
                wish,
                wish.count,
                buffers,
                buffers.count,
                header,
                header.count,
                crop,
                crop.count,
                &number
            )
        else {
            throw MediaError(
                .notUsable,
                "screen",
                "PipeWire gives no stream (\(unsafe String(cString: strerror(number)))): see whether it runs "
                    + "(systemctl --user status pipewire)"
            )
        }
        unsafe self.handle = handle
    }

    deinit { unsafe cpipewire_close(handle) }

    /// Gives it to another thread, which calls ``attach()``; it is the calling thread's from `init` on.
    func detach() { unsafe cpipewire_leave(handle) }
    /// Takes it over from the thread that called ``detach()``.
    func attach() { unsafe cpipewire_enter(handle) }

    /// Loads the library.
    ///
    /// - Throws: `MediaError.notUsable` with what to install.
    static func load() throws(MediaError) {
        guard let reason = unsafe cpipewire_load() else { return }
        throw MediaError(
            .notUsable,
            "screen",
            "libpipewire cannot be loaded (\(unsafe String(cString: reason))), through which a Wayland desktop gives the "
                + "screen: install the package libpipewire-0.3-0"
        )
    }

    /// To be polled for input.
    var descriptor: CInt { unsafe cpipewire_descriptor(handle) }
    /// Pictures that could not be used.
    var refusedCount: Int { refused + Int(clamping: unsafe cpipewire_unusable(handle)) }

    /// Lets pictures come, or holds them back.
    func setActive(_ isActive: Bool) { unsafe cpipewire_set_active(handle, isActive ? 1 : 0) }

    /// Does what there is to do, without waiting.
    ///
    /// - Throws: `MediaError`: `.unplugged` when the stream has ended, `.notUsable` for a format that cannot be read.
    func advance() throws(MediaError) {
        unsafe cpipewire_iterate(handle)
        if Int(unsafe cpipewire_state(handle)) == CPIPEWIRE_ENDED {
            let reason = unsafe String(cString: cpipewire_reason(handle))
            throw MediaError(
                .unplugged,
                "screen",
                "PipeWire has ended the stream" + (reason.isEmpty ? "" : " (\(reason))")
                    + ": the desktop has ended, or what it gave is gone"
            )
        }
        var bytes: UnsafeRawPointer?
        var size = 0
        let count = unsafe cpipewire_format(handle, &bytes, &size)
        guard count != formatCount else { return }
        formatCount = count
        format = try PipeWireFormat(pod: unsafe Array(UnsafeRawBufferPointer(start: bytes, count: size)))
    }

    /// Whether a picture has come that was not taken.
    var hasPicture: Bool {
        var picture = unsafe cpipewire_picture()
        return unsafe cpipewire_newest(handle, &picture) != 0
    }

    /// The newest picture, turned into I420.
    ///
    /// - Parameters:
    ///   - now: the monotonic clock.
    ///   - last: the time of the picture before, which this one's is later than.
    /// - Returns: nil if there is none, or it does not lie in its buffer.
    /// - Throws: `MediaError` without memory for it.
    func take(at now: Int64, after last: Int64) throws(MediaError) -> VideoFrame? {
        var picture = unsafe cpipewire_picture()
        guard unsafe cpipewire_newest(handle, &picture) != 0 else { return nil }
        defer { unsafe cpipewire_release(handle) }
        guard let format, let bytes = unsafe picture.bytes,
            let place = unsafe format.place(
                capacity: picture.capacity,
                offset: picture.offset,
                size: picture.size,
                stride: picture.stride,
                crop: PixelRectangle(
                    x: Int(picture.crop_x),
                    y: Int(picture.crop_y),
                    width: Int(picture.crop_width),
                    height: Int(picture.crop_height)
                )
            )
        else {
            refused += 1
            return nil
        }
        // When it was drawn, if that can be; times never go back.
        let told = unsafe picture.time
        let time = max(told <= now && told > now - Self.longestDelay ? told : now, last + 1)
        let frame = try VideoFrame(
            width: place.width,
            height: place.height,
            timestampNanoseconds: time,
            pool: pool
        ) { planes throws(MediaError) in
            let whole = PixelRectangle(x: 0, y: 0, width: place.width, height: place.height)
            let source = unsafe bytes + place.offset
            guard unsafe format.layout.convert(source, bytesPerRow: place.bytesPerRow, part: whole, to: planes) else {
                throw MediaError(.codec, "screen", "its pictures cannot be turned into I420")
            }
        }
        return frame
    }

    /// Nanoseconds; what is said to be older was told by another clock.
    private static let longestDelay: Int64 = 1_000_000_000
}
