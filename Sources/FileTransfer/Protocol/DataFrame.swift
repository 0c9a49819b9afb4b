/// The binary messages: a header of 16 bytes, all numbers big-endian, then the payload.
///
/// ```
/// 0      1        4          8                16
/// │ kind │ 0 0 0  │ file     │ offset         │ payload …
/// ```
enum DataFrame: Hashable {
    /// Bytes of a file from `offset`; the payload is the message without its header.
    case chunk(file: Int, offset: Int, message: [UInt8])
    /// The chain value after the full block that ends at `offset`.
    case block(file: Int, offset: Int, chain: Digest)

    static let headerSize = 16
    /// The unit of hashing, of writing and of resuming.
    static let blockSize = 1 << 20
    /// No file is longer: the largest whole number that every JSON reader knows.
    static let maxFileSize = 1 << 53 - 1
    private static let chunkKind: UInt8 = 1
    private static let blockKind: UInt8 = 2

    /// Reads a binary message.
    init(_ message: [UInt8]) throws(TransferError) {
        guard message.count >= Self.headerSize, message[1] == 0, message[2] == 0, message[3] == 0 else {
            throw .violation("a binary message of \(message.count) bytes without a valid header")
        }
        var file = 0
        for index in 4..<8 { file = file << 8 | Int(message[index]) }
        var wide: UInt64 = 0
        for index in 8..<16 { wide = wide << 8 | UInt64(message[index]) }
        guard let offset = Int(exactly: wide), offset <= Self.maxFileSize else {
            throw .violation("an offset of \(wide) is beyond what a file can have")
        }
        switch message[0] {
        case Self.chunkKind:
            guard message.count > Self.headerSize else { throw .violation("a chunk without bytes") }
            self = .chunk(file: file, offset: offset, message: message)
        case Self.blockKind:
            guard let chain = Digest(message[Self.headerSize...]) else {
                throw .violation("a block's hash of \(message.count - Self.headerSize) bytes instead of 32")
            }
            self = .block(file: file, offset: offset, chain: chain)
        default: throw .violation("a binary message of the unknown kind \(message[0])")
        }
    }

    /// The header of a chunk.
    static func writeChunkHeader(file: Int, offset: Int, into bytes: inout [UInt8]) {
        writeHeader(kind: chunkKind, file: file, offset: offset, into: &bytes)
    }

    /// The message that names a block's chain value.
    static func blockMessage(file: Int, offset: Int, chain: Digest) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: headerSize)
        writeHeader(kind: blockKind, file: file, offset: offset, into: &bytes)
        return bytes + chain.bytes
    }

    /// The message of a chunk, from a copy of its bytes.
    static func chunkMessage(file: Int, offset: Int, bytes: some Sequence<UInt8>) -> [UInt8] {
        var message = [UInt8](repeating: 0, count: headerSize)
        writeHeader(kind: chunkKind, file: file, offset: offset, into: &message)
        message.append(contentsOf: bytes)
        return message
    }

    private static func writeHeader(kind: UInt8, file: Int, offset: Int, into bytes: inout [UInt8]) {
        bytes[0] = kind
        for index in 1..<4 { bytes[index] = 0 }
        for index in 0..<4 { bytes[4 + index] = UInt8(truncatingIfNeeded: file >> (24 - 8 * index)) }
        for index in 0..<8 { bytes[8 + index] = UInt8(truncatingIfNeeded: offset >> (56 - 8 * index)) }
    }

    /// Payload bytes of a chunk so that a block is a whole number of chunks and a message fits the channel.
    static func chunkSize(maxMessageSize: Int) -> Int {
        var size = blockSize
        while size + headerSize > maxMessageSize, size > 1024 { size /= 2 }
        return size
    }
}
