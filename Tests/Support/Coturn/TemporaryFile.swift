import Glibc
import Testing

/// A file with a text, until nobody holds it.
package final class TemporaryFile: Sendable {
    package let path: String

    package init(_ text: String) throws {
        var template = Array("/tmp/file-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0, "no temporary file")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let bytes = Array(text.utf8)
        let isWritten = write(descriptor, bytes, bytes.count) == bytes.count
        close(descriptor)
        try #require(isWritten, "the temporary file is not written")
    }

    deinit { unlink(path) }
}
