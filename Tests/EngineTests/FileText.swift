import Glibc

/// Reads test data.
enum FileText {
    /// Empty if the file cannot be read.
    static func read(_ path: String) -> String {
        guard let handle = fopen(path, "rb") else { return "" }
        defer { fclose(handle) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&chunk, 1, chunk.count, handle)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }
}
