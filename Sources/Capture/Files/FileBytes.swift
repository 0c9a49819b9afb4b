internal import Glibc
internal import Media

/// A file that is read or written front to back, with typed errors.
@safe final class FileBytes {
    let path: String
    private let file: UnsafeMutablePointer<FILE>

    /// Opens a file; `mode` as for fopen.
    init(_ path: String, mode: String) throws(MediaError) {
        var status = stat()
        if mode.hasPrefix("r"), unsafe stat(path, &status) == 0 {
            switch status.st_mode & S_IFMT {
            case S_IFREG: break
            case S_IFDIR: throw MediaError(.notUsable, path, "is a directory, not a media file")
            default:
                // Opening a pipe would wait for its writer, and what is read of it to find its kind is gone.
                throw MediaError(
                    .notUsable,
                    path,
                    "is a pipe or device, which cannot be read from its beginning again: store it as a file first"
                )
            }
        }
        guard let file = unsafe fopen(path, mode) else {
            let kind: MediaError.Kind = errno == ENOENT && mode.hasPrefix("r") ? .notFound : .notUsable
            throw MediaError(kind, path, unsafe String(cString: strerror(errno)))
        }
        self.path = path
        unsafe self.file = file
    }

    deinit { unsafe fclose(file) }

    /// Up to `count` bytes; fewer at the end.
    ///
    /// A length that a file only claims to have costs no memory: it is read in pieces.
    func read(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let wanted = min(count - bytes.count, Self.pieceLength)
            let piece = unsafe [UInt8](unsafeUninitializedCapacity: wanted) { buffer, initialized in
                initialized = unsafe fread(buffer.baseAddress, 1, wanted, file)
            }
            if piece.count == count { return piece }
            bytes += piece
            if piece.count < wanted { break }
        }
        return bytes
    }

    private static let pieceLength = 1 << 20

    /// Exactly `count` bytes, or nil at the end.
    func readExactly(_ count: Int) -> [UInt8]? {
        let bytes = read(count)
        return bytes.count == count ? bytes : nil
    }

    /// A line without its end, at most `limit` bytes.
    func readLine(limit: Int) -> [UInt8]? {
        var line: [UInt8] = []
        while line.count <= limit {
            let byte = unsafe getc(file)
            if byte < 0 { return nil }
            if byte == 10 { return line }
            line.append(UInt8(truncatingIfNeeded: byte))
        }
        return nil
    }

    func write(_ bytes: [UInt8]) throws(MediaError) {
        guard unsafe fwrite(bytes, 1, bytes.count, file) == bytes.count else {
            throw MediaError(.notUsable, path, unsafe "cannot write: \(String(cString: strerror(errno)))")
        }
    }

    /// Gives all that was written to the system.
    func flush() throws(MediaError) {
        guard unsafe fflush(file) == 0 else {
            throw MediaError(.notUsable, path, unsafe "cannot write: \(String(cString: strerror(errno)))")
        }
    }
    func seek(to offset: Int) { unsafe fseek(file, offset, SEEK_SET) }
    var offset: Int { unsafe ftell(file) }
    /// What the file holds now; as much as there can be for what is no regular file.
    var byteCount: Int {
        var status = stat()
        guard unsafe fstat(fileno(file), &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return .max }
        return Int(status.st_size)
    }
}

extension [UInt8] {
    func littleEndian16(at offset: Int) -> Int { Int(self[offset]) | Int(self[offset + 1]) << 8 }
    func littleEndian32(at offset: Int) -> Int { littleEndian16(at: offset) | littleEndian16(at: offset + 2) << 16 }

    mutating func appendLittleEndian(_ value: Int, bytes: Int) {
        for index in 0..<bytes { append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
    }
}
