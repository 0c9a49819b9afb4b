internal import CXCB
internal import Media

/// The pixels of a surface as the server gives them: in memory that both share, else in memory of our own.
///
/// Belongs to the thread of its connection.
@safe final class ScreenPixels {
    let width: Int
    let height: Int
    /// Whether the server writes into it, without the way through a socket.
    let isShared: Bool
    private let connection: XConnection
    private var memory: cxcb_memory
    /// Where nothing is shared; freed in `deinit`.
    private let own: UnsafeMutableBufferPointer<UInt8>

    private var bytesPerRow: Int { width * 4 }

    /// Memory for a picture of at most 16 384 pixels each way.
    ///
    /// - Throws: if the connection is broken.
    init(_ connection: XConnection, width: Int, height: Int) throws(XConnection.Failure) {
        self.connection = connection
        self.width = width
        self.height = height
        let byteCount = width * height * 4
        var shared: cxcb_memory?
        do throws(XConnection.Failure) {
            unsafe shared = try connection.makeMemory(byteCount: byteCount)
        } catch .broken {
            throw .broken
        } catch {
            // A display of another machine, or behind a border of containers: read through the connection.
        }
        isShared = unsafe shared != nil
        unsafe memory = shared ?? cxcb_memory()
        unsafe own = .allocate(capacity: isShared ? 0 : byteCount)
        unsafe own.initialize(repeating: 0)
    }

    deinit {
        unsafe connection.free(memory: &memory)
        unsafe own.deallocate()
    }

    /// Reads a part of a drawable, whose pixel at `origin` is the picture's first one.
    func read(_ drawable: UInt32, _ part: PixelRectangle, origin: (x: Int, y: Int)) throws(XConnection.Failure) {
        // Shared memory takes rows one after the other: whole ones fall into place.
        let part = isShared ? PixelRectangle(x: 0, y: part.y, width: width, height: part.height) : part
        let place = PixelRectangle(x: part.x + origin.x, y: part.y + origin.y, width: part.width, height: part.height)
        if isShared {
            try unsafe connection.read(drawable, place, into: &memory, at: part.y * bytesPerRow)
        } else if let base = unsafe own.baseAddress {
            let target = unsafe base + part.y * bytesPerRow + part.x * 4
            try unsafe connection.read(drawable, place, to: target, bytesPerRow: bytesPerRow)
        }
    }

    /// Turns a part, which begins at even numbers, into I420; false if it cannot.
    func convert(_ part: PixelRectangle, _ layout: PixelLayout, to planes: borrowing VideoFrame.Planes) -> Bool {
        let shared = unsafe memory.bytes.map { unsafe UnsafePointer($0.assumingMemoryBound(to: UInt8.self)) }
        guard let source = unsafe shared ?? UnsafePointer(own.baseAddress) else { return false }
        return unsafe layout.convert(source, bytesPerRow: bytesPerRow, part: part, to: planes)
    }
}
