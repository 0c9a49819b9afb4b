internal import CLinux
internal import Glibc

/// An open descriptor, closed with its last reference.
final class OpenFile {
    let descriptor: CInt

    init(_ descriptor: CInt) { self.descriptor = descriptor }

    deinit { Glibc.close(descriptor) }
}

/// System calls on files, with errors in words.
///
/// Names are relative to open directories and never followed.
enum FileCalls {
    /// What a call failed with.
    ///
    /// - Parameters:
    ///   - action: what was tried, as "write".
    ///   - name: of what, for people.
    ///   - code: an `errno`.
    /// - Returns: an error in words.
    static func failure(_ action: String, _ name: String, _ code: CInt = errno) -> TransferError {
        let what = "cannot \(action) \(printable(name))"
        let words = unsafe String(cString: strerror(code))
        switch code {
        case ENOSPC, EDQUOT:
            return TransferError(.noSpace, "\(what): \(words); make room, then run the transfer again")
        case EACCES, EPERM:
            return TransferError(.accessDenied, "\(what): \(words); check the owner and the permissions")
        case EROFS: return TransferError(.readOnly, "\(what): \(words); choose another target")
        case EFBIG:
            return TransferError(
                .fileTooLarge,
                "\(what): \(words); the file system or the process's file size limit does not take it"
            )
        case EEXIST: return TransferError(.exists, "\(what): it exists already")
        case ENOENT: return TransferError(.notFound, "\(what): \(words)")
        case ELOOP, ENOTDIR:
            return TransferError(.unsafePath, "\(what): a part of the path is a symbolic link or no directory")
        case ENAMETOOLONG: return TransferError(.unsafePath, "\(what): \(words)")
        default: return TransferError(.system, "\(what): \(words)")
        }
    }

    /// What writing a stream failed with; both sides read it, and what they can do is said with its end.
    static func streamFailure(_ code: CInt = errno) -> TransferError {
        let words = unsafe String(cString: strerror(code))
        return TransferError(code == ENOSPC ? .noSpace : .system, "the receiver's output cannot be written: \(words)")
    }

    /// The permissions that this process withholds from what it makes (umask), without changing them for a moment.
    static func withheldPermissions() -> mode_t {
        let usual: mode_t = 0o022
        guard let file = open("/proc/self/status", O_RDONLY) else { return usual }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(file.descriptor, $0.baseAddress, $0.count) }
        let lines = bytes.prefix(max(0, count)).split(separator: UInt8(ascii: "\n"))
        let name = "Umask:"
        guard let line = lines.first(where: { $0.starts(with: name.utf8) }) else { return usual }
        let digits = String(decoding: line.dropFirst(name.utf8.count), as: UTF8.self).filter(\.isNumber)
        return mode_t(digits, radix: 8) ?? usual
    }

    static func open(
        _ name: String,
        in directory: CInt = AT_FDCWD,
        _ flags: CInt,
        mode: mode_t = 0o600
    ) -> OpenFile? {
        let descriptor = retrying { unsafe openat(directory, name, flags | O_CLOEXEC, mode) }
        return descriptor < 0 ? nil : OpenFile(descriptor)
    }

    static func status(of file: OpenFile) -> stat? {
        var status = stat()
        return unsafe fstat(file.descriptor, &status) == 0 ? status : nil
    }

    static func status(of name: String, in directory: CInt, follows: Bool = false) -> stat? {
        var status = stat()
        return unsafe fstatat(directory, name, &status, follows ? 0 : AT_SYMLINK_NOFOLLOW) == 0 ? status : nil
    }

    static func link(_ name: String, in directory: CInt) -> String? {
        var bytes = [UInt8](repeating: 0, count: Manifest.maxPathBytes + 1)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer -> Int in
            guard let start = buffer.baseAddress else { return -1 }
            return unsafe readlinkat(directory, name, start.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        guard count >= 0, count < bytes.count else { return nil }
        return String(validating: bytes[..<count], as: UTF8.self)
    }

    static func retrying<Result: SignedInteger>(_ call: () -> Result) -> Result {
        while true {
            let result = call()
            if result >= 0 || errno != EINTR { return result }
        }
    }

    /// Fills a buffer from an offset.
    ///
    /// - Returns: the bytes read; fewer than asked for at the end of the file; -1 with `errno`.
    static func read(_ file: OpenFile, into buffer: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
        var count = 0
        while count < buffer.count {
            let got = retrying {
                unsafe pread(
                    file.descriptor,
                    buffer.baseAddress?.advanced(by: count),
                    buffer.count - count,
                    offset + count
                )
            }
            if got < 0 { return -1 }
            if got == 0 { break }
            count += got
        }
        return count
    }

    /// Reads what a stream has.
    ///
    /// - Returns: the bytes read, 0 at the end, -1 with `errno`: `EAGAIN` if nothing came for a tenth of a second.
    static func readStream(_ file: OpenFile, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var request = pollfd(fd: file.descriptor, events: Int16(POLLIN), revents: 0)
        let ready = retrying { unsafe poll(&request, 1, 100) }
        if ready == 0 { errno = EAGAIN }
        guard ready > 0 else { return -1 }
        return retrying { unsafe Glibc.read(file.descriptor, buffer.baseAddress, buffer.count) }
    }

    /// Writes all of the pieces at an offset, each without its first `skip` bytes.
    ///
    /// - Returns: whether all was written; else `errno` tells why.
    static func write(_ pieces: [[UInt8]], skipping skip: Int, to file: OpenFile, at offset: Int) -> Bool {
        var position = offset
        for piece in pieces {
            let isWritten = unsafe piece.withUnsafeBytes { bytes -> Bool in
                var rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[skip...])
                while unsafe !rest.isEmpty {
                    let put = retrying {
                        unsafe pwrite(file.descriptor, rest.baseAddress, rest.count, position)
                    }
                    guard put > 0 else { return false }
                    position += put
                    unsafe rest = UnsafeRawBufferPointer(rebasing: rest[put...])
                }
                return true
            }
            if !isWritten { return false }
        }
        return true
    }

    /// Writes all of the pieces to a stream, each without its first `skip` bytes.
    ///
    /// - Returns: whether all was written; else `errno` tells why.
    static func writeStream(_ pieces: [[UInt8]], skipping skip: Int, to file: OpenFile) -> Bool {
        for piece in pieces {
            let isWritten = unsafe piece.withUnsafeBytes { bytes -> Bool in
                var rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[skip...])
                while unsafe !rest.isEmpty {
                    let put = retrying { unsafe Glibc.write(file.descriptor, rest.baseAddress, rest.count) }
                    guard put > 0 else { return false }
                    unsafe rest = UnsafeRawBufferPointer(rebasing: rest[put...])
                }
                return true
            }
            if !isWritten { return false }
        }
        return true
    }

    /// Renames within or between directories, never over what is there.
    ///
    /// - Returns: 0, or -1 with `errno`.
    static func renameWithoutReplacing(_ name: String, in directory: CInt, to newName: String) -> CInt {
        let status = unsafe clinux_rename_noreplace(directory, name, directory, newName)
        guard status != 0, errno == EINVAL || errno == ENOSYS else { return status }
        // A file system without that flag: a second link does not replace either.
        guard unsafe linkat(directory, name, directory, newName, 0) == 0 else { return -1 }
        return unsafe unlinkat(directory, name, 0)
    }
}

/// The names in a directory.
enum FileNames {
    /// Lists a directory.
    ///
    /// - Returns: the names in order, and those that are not UTF-8 as people can read them; nil with `errno`.
    static func list(_ path: String) -> (names: [String], foreign: [String])? {
        // DIR *
        guard let directory = unsafe opendir(path) else { return nil }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        var foreign: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(directory) else { break }
            let bytes = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe Array(bytes.prefix { $0 != 0 })
            }
            guard let name = String(validating: bytes, as: UTF8.self) else {
                foreign.append(escaped(bytes))
                continue
            }
            if name != ".", name != ".." { names.append(name) }
        }
        guard errno == 0 else { return nil }
        return (names.sorted(), foreign.sorted())
    }

    /// A name that is not UTF-8, as `bad\xff.txt`.
    static func escaped(_ bytes: [UInt8]) -> String {
        var text = ""
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = (1...4).first { String(validating: rest.prefix($0), as: UTF8.self) != nil }
            if let count, let scalar = String(validating: rest.prefix(count), as: UTF8.self) {
                text += scalar
            } else if let byte = rest.first {
                text += "\\x" + String(byte, radix: 16)
            }
            rest = rest.dropFirst(count ?? 1)
        }
        return text
    }
}
