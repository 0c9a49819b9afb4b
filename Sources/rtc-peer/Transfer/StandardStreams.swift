import Glibc
import NIOPosix
import PeerConnection

/// Standard input and output without blocking anybody but a thread of NIO's pool.
enum StandardStreams {
    /// Finds out whether standard input can be read at all: neither closed nor a directory.
    static func checkInput() throws {
        var byte: UInt8 = 0
        guard unsafe Glibc.read(STDIN_FILENO, &byte, 0) == 0 else { throw systemError("reading standard input") }
    }

    /// Up to `limit` bytes of standard input; empty at its end.
    static func read(limit: Int) async throws -> [UInt8] {
        try await NIOThreadPool.singleton.runIfActive {
            while true {
                var count = 0
                let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, initialized in
                    count = unsafe Glibc.read(STDIN_FILENO, buffer.baseAddress, limit)
                    initialized = max(0, count)
                }
                if count >= 0 { return bytes }
                guard errno == EINTR else { throw systemError("reading standard input") }
            }
        }
    }

    /// Writes all bytes to standard output.
    static func write(_ bytes: [UInt8]) async throws {
        try await NIOThreadPool.singleton.runIfActive {
            var offset = 0
            while offset < bytes.count {
                let count = unsafe bytes.withUnsafeBytes { buffer in
                    unsafe Glibc.write(STDOUT_FILENO, buffer.baseAddress?.advanced(by: offset), bytes.count - offset)
                }
                if count >= 0 { offset += count }
                if count < 0, errno != EINTR { throw systemError("writing to standard output") }
            }
        }
    }

    private static func systemError(_ what: String) -> MediaError {
        MediaError(.notUsable, what, unsafe String(cString: strerror(errno)))
    }
}
