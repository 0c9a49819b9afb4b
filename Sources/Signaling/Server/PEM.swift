internal import COpenSSL
import Glibc

/// Files of one PEM block each.
///
/// RFC 7468
enum PEM {
    /// Nil if the file cannot be read or holds no such block.
    static func read(_ path: String, label: String) -> [UInt8]? {
        guard let file = unsafe fopen(path, "re") else { return nil }
        defer { unsafe fclose(file) }
        var buffer = [UInt8](repeating: 0, count: maxFileBytes)
        let count = unsafe fread(&buffer, 1, buffer.count, file)
        let lines = buffer.prefix(count).split(separator: UInt8(ascii: "\n")).map {
            String(decoding: $0, as: UTF8.self)
        }
        guard let begin = lines.firstIndex(of: "-----BEGIN \(label)-----"),
            let end = lines.firstIndex(of: "-----END \(label)-----"), begin < end
        else { return nil }
        let text = Array(lines[(begin + 1)..<end].joined().utf8)
        guard text.count % 4 == 0, !text.isEmpty else { return nil }
        var bytes = [UInt8](repeating: 0, count: text.count / 4 * 3)
        guard unsafe EVP_DecodeBlock(&bytes, text, Int32(text.count)) == Int32(bytes.count) else { return nil }
        // EVP_DecodeBlock counts padding as bytes.
        bytes.removeLast(text.suffix(2).count { $0 == UInt8(ascii: "=") })
        return bytes
    }

    /// Writes a new file beside and renames it, so that no half a file is ever read.
    ///
    /// False sets `errno`.
    static func write(_ bytes: [UInt8], label: String, to path: String, mode: mode_t) -> Bool {
        var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
        let count = unsafe EVP_EncodeBlock(&text, bytes, Int32(bytes.count))
        var lines = "-----BEGIN \(label)-----\n"
        for start in stride(from: 0, to: Int(count), by: 64) {
            lines += String(decoding: text[start..<min(start + 64, Int(count))], as: UTF8.self) + "\n"
        }
        lines += "-----END \(label)-----\n"
        let content = Array(lines.utf8)
        let temporary = path + ".new"
        // What a program that died left there may be readable by others.
        unsafe unlink(temporary)
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { return false }
        let isWritten = unsafe Glibc.write(descriptor, content, content.count) == content.count
        let isClosed = Glibc.close(descriptor) == 0
        guard isWritten, isClosed else { return false }
        return unsafe rename(temporary, path) == 0
    }

    private static let maxFileBytes = 16 * 1024
}
