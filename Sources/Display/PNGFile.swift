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
    package static func write(_ picture: RGBPicture, to path: String) throws(MediaError) {
        let bytes = try bytes(of: picture)
        let part = "\(path).\(UInt32.random(in: 0 ... .max)).part"
        let descriptor = unsafe open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw error(path) }
        var isStored = true
        var done = 0
        while done < bytes.count, isStored {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done)
            }
            if count > 0 { done += count } else if errno != EINTR { isStored = false }
        }
        let number = errno
        close(descriptor)
        errno = number
        guard isStored, unsafe rename(part, path) == 0 else {
            let failure = error(path)
            unsafe unlink(part)
            throw failure
        }
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
