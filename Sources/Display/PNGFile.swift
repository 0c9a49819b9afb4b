internal import CPNG
internal import Glibc
package import Media

/// Pictures as PNG, by libpng.
package enum PNGFile {
    /// The bytes of a PNG file.
    package static func bytes(of picture: RGBPicture) throws(MediaError) -> [UInt8] {
        var message = [CChar](repeating: 0, count: 64)
        var size = 0
        guard picture.width > 0, picture.height > 0, picture.bytes.count == picture.width * picture.height * 3 else {
            throw MediaError(.invalidArgument, "PNG", "\(picture.width)x\(picture.height) is no picture")
        }
        // The most that deflate makes of it, and room for the chunks' heads.
        size = picture.bytes.count + picture.bytes.count / 1_000 + picture.height * 16 + 4_096
        var isDone = false
        let result = unsafe [UInt8](unsafeUninitializedCapacity: size) { target, count in
            isDone =
                unsafe cpng_write_rgb(
                    UInt32(picture.width),
                    UInt32(picture.height),
                    picture.bytes,
                    target.baseAddress,
                    &size,
                    &message
                ) != 0
            count = isDone ? min(size, target.count) : 0
        }
        guard isDone else {
            let text = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw MediaError(.codec, "PNG", "libpng: \(text)")
        }
        return result
    }

    /// Writes a file, whole or not at all; one that is there is replaced.
    ///
    /// A symbolic link leads to the file. Into a pipe or a device, as standard output, the bytes are written.
    package static func write(_ picture: RGBPicture, to path: String) throws(MediaError) {
        let bytes = try bytes(of: picture)
        var status = stat()
        if unsafe stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw error(path) }
            let isStored = store(bytes, descriptor)
            let number = errno
            close(descriptor)
            errno = number
            guard isStored else { throw error(path) }
            return
        }
        let target = target(of: path)
        let part = "\(target).\(UInt32.random(in: 0 ... .max)).part"
        let descriptor = unsafe open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw error(path) }
        let isStored = store(bytes, descriptor)
        let number = errno
        close(descriptor)
        errno = number
        guard isStored, unsafe rename(part, target) == 0 else {
            let failure = error(path)
            unsafe unlink(part)
            throw failure
        }
    }

    /// Where symbolic links lead, also to what is not there yet.
    private static func target(of path: String) -> String {
        var path = path
        // As many as the kernel follows.
        for _ in 0..<40 {
            var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = unsafe readlink(path, &bytes, bytes.count)
            guard count > 0, count < bytes.count else { break }
            let next = String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
            path = next.hasPrefix("/") ? next : folder + next
        }
        return path
    }

    /// - Returns: whether all was written; else `errno` says why.
    private static func store(_ bytes: [UInt8], _ descriptor: CInt) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done)
            }
            if count > 0 { done += count } else if errno != EINTR { return false }
        }
        return true
    }

    private static func error(_ path: String) -> MediaError {
        let number = errno
        let kind: MediaError.Kind =
            switch number {
            case ENOSPC, EDQUOT: .noSpace
            case EACCES, EPERM, EROFS: .notPermitted
            case ENOENT: .notFound
            default: .notUsable
            }
        return MediaError(kind, path, unsafe "cannot be written: \(String(cString: strerror(number)))")
    }
}
