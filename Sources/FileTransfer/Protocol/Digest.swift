internal import COpenSSL

/// A SHA-256 value.
struct Digest: Hashable, Sendable {
    static let byteCount = 32
    private(set) var bytes: [UInt8]

    /// The chain before the first block: 32 zero bytes.
    static let chainStart = Digest(bytes: [UInt8](repeating: 0, count: byteCount))

    private init(bytes: [UInt8]) { self.bytes = bytes }

    init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = Array(bytes)
    }

    /// Reads 64 hexadecimal digits.
    init?(hexadecimal text: String) {
        let digits = Array(text.utf8)
        guard digits.count == 2 * Self.byteCount else { return nil }
        var bytes: [UInt8] = []
        for index in 0..<Self.byteCount {
            guard let high = Self.value(digits[2 * index]), let low = Self.value(digits[2 * index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        self.bytes = bytes
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }

    /// 64 small hexadecimal digits.
    var hexadecimal: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(2 * bytes.count)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// SHA-256 by OpenSSL, which uses the processor's SHA instructions; may be used again after each result.
@safe struct SHA256: ~Copyable {
    private let context: OpaquePointer  // EVP_MD_CTX *
    private let algorithm: OpaquePointer  // EVP_MD *
    /// Whether each step succeeded; none fails but for want of memory.
    private var isSound: Bool

    init() throws(TransferError) {
        guard let context = unsafe EVP_MD_CTX_new() else {
            throw TransferError(.system, "OpenSSL has no memory for SHA-256")
        }
        guard let algorithm = unsafe EVP_MD_fetch(nil, "SHA2-256", nil) else {
            unsafe EVP_MD_CTX_free(context)
            throw TransferError(.system, "OpenSSL offers no SHA-256")
        }
        unsafe self.context = context
        unsafe self.algorithm = algorithm
        isSound = unsafe EVP_DigestInit_ex(context, algorithm, nil) == 1
    }

    deinit {
        unsafe EVP_MD_CTX_free(context)
        unsafe EVP_MD_free(algorithm)
    }

    mutating func update(_ bytes: ArraySlice<UInt8>) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        isSound = unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1 && isSound
    }

    /// The hash of all since the last result; the next begins anew.
    mutating func finish() throws(TransferError) -> Digest {
        var bytes = [UInt8](repeating: 0, count: Digest.byteCount)
        var count: UInt32 = 0
        isSound = unsafe EVP_DigestFinal_ex(context, &bytes, &count) == 1 && isSound
        isSound = unsafe EVP_DigestInit_ex(context, algorithm, nil) == 1 && isSound
        guard isSound, let digest = Digest(bytes) else {
            throw TransferError(.system, "OpenSSL failed to compute SHA-256")
        }
        return digest
    }
}

/// The hash chain of a file: the value after a block is SHA-256(value before ‖ SHA-256(block)).
///
/// One value of 32 bytes stands for the whole prefix, so that a journal stores it and hashing goes on from it.
struct HashChain: ~Copyable {
    private var block: SHA256
    private var link: SHA256
    /// SHA-256 of the whole, if it is wanted too; another pass of hashing for files of more than one block.
    private var whole: SHA256?
    private var wantsWhole: Bool
    private(set) var value = Digest.chainStart
    private(set) var bytesInBlock = 0

    init() throws(TransferError) {
        let block = try SHA256()
        let link = try SHA256()
        self.block = block
        self.link = link
        whole = nil
        wantsWhole = false
    }

    /// Begins a file, or goes on after the blocks of a prefix with that value.
    mutating func start(wantsWhole: Bool, after prefix: Digest = .chainStart) throws(TransferError) {
        if bytesInBlock > 0 { _ = try block.finish() }
        if whole == nil, wantsWhole { whole = try SHA256() }
        if self.wantsWhole { _ = try whole?.finish() }
        self.wantsWhole = wantsWhole
        value = prefix
        bytesInBlock = 0
    }

    /// Adds bytes that end at or before the end of the block.
    ///
    /// - Parameters:
    ///   - bytes: a message or a buffer.
    ///   - skip: how many of its first bytes are not of the file.
    /// - Throws: `system` if OpenSSL fails.
    mutating func update(_ bytes: [UInt8], skipping skip: Int = 0) throws(TransferError) {
        let bytes = bytes[skip...]
        block.update(bytes)
        if wantsWhole { whole?.update(bytes) }
        bytesInBlock += bytes.count
        if bytesInBlock >= DataFrame.blockSize { try endBlock() }
    }

    private mutating func endBlock() throws(TransferError) {
        let digest = try block.finish()
        link.update(value.bytes[...])
        link.update(digest.bytes[...])
        value = try link.finish()
        bytesInBlock = 0
    }

    /// The root, and SHA-256 of the whole where it is wanted.
    mutating func finish() throws(TransferError) -> (root: Digest, whole: Digest?) {
        if bytesInBlock > 0 { try endBlock() }
        guard wantsWhole else { return (value, nil) }
        return (value, try whole?.finish())
    }
}
