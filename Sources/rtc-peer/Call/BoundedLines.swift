import Glibc

/// Lines of standard input, none of which takes more memory than its limit.
struct BoundedLines {
    enum Line: Equatable {
        case text(String)
        case tooLong
    }

    private let byteLimit: Int
    private let descriptor: CInt
    private var waiting: ArraySlice<UInt8> = []

    init(byteLimit: Int, descriptor: CInt = STDIN_FILENO) {
        self.byteLimit = byteLimit
        self.descriptor = descriptor
    }

    /// Reads a line, without its end.
    ///
    /// - Returns: nil at the end of input.
    mutating func next() -> Line? {
        var line: [UInt8] = []
        var isTooLong = false
        while true {
            let part = waiting.prefix { $0 != UInt8(ascii: "\n") }
            if line.count + part.count > byteLimit { isTooLong = true } else { line += part }
            let hasEnd = part.count < waiting.count
            waiting = waiting.dropFirst(part.count + 1)
            if hasEnd { return isTooLong ? .tooLong : .text(String(decoding: line, as: UTF8.self)) }
            let bytes = read()
            guard !bytes.isEmpty else {
                if isTooLong { return .tooLong }
                return line.isEmpty ? nil : .text(String(decoding: line, as: UTF8.self))
            }
            waiting = bytes[...]
        }
    }

    private func read() -> [UInt8] {
        while true {
            var status = 0
            let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 4_096) { buffer, count in
                status = unsafe Glibc.read(descriptor, buffer.baseAddress, 4_096)
                count = max(0, status)
            }
            if status >= 0 || errno != EINTR { return bytes }
        }
    }
}
