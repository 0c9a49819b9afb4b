internal import COpenSSL

/// SHA-256 over a stream of bytes, by OpenSSL. FIPS 180-4
@safe final class SHA256 {
    private let context: OpaquePointer  // EVP_MD_CTX *

    init?() {
        guard let context = unsafe EVP_MD_CTX_new() else { return nil }
        unsafe self.context = context
        guard unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else { return nil }
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    func update(_ bytes: some Collection<UInt8>) {
        _ = bytes.withContiguousStorageIfAvailable { buffer in
            _ = unsafe EVP_DigestUpdate(context, buffer.baseAddress, buffer.count)
        }
    }

    /// The digest as 64 hexadecimal digits.
    ///
    /// The context is used up.
    func finish() -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        _ = unsafe EVP_DigestFinal_ex(context, &digest, nil)
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
