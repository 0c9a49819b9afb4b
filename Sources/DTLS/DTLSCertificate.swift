internal import COpenSSL

/// A self-signed P-256 certificate with its key. RFC 8827 §6.5
@safe package final class DTLSCertificate: Sendable {
    /// Immutable after init; OpenSSL counts references to them atomically.
    nonisolated(unsafe) let certificate: OpaquePointer  // X509 *
    nonisolated(unsafe) let key: OpaquePointer  // EVP_PKEY *
    /// One OpenSSL context for all sessions with this certificate: making one costs 0.1 ms.
    let context: DTLSContext

    /// Its SHA-256 fingerprint.
    package let fingerprint: DTLSFingerprint

    /// How long a new certificate is valid, and how long before now, since peers' clocks differ.
    private static let validSeconds = 30 * 86_400
    private static let graceSeconds = 86_400

    private init(certificate: OpaquePointer, key: OpaquePointer) throws(DTLSError) {
        unsafe self.certificate = certificate
        unsafe self.key = key
        guard let fingerprint = unsafe Self.fingerprint(of: certificate, algorithm: "sha-256") else {
            throw OpenSSLErrors.failure("cannot hash the certificate")
        }
        self.fingerprint = fingerprint
        context = unsafe try DTLSContext(certificate: certificate, key: key)
    }

    deinit {
        unsafe X509_free(certificate)
        unsafe EVP_PKEY_free(key)
    }

    /// Makes a key and a certificate for it, valid around `unixSeconds`.
    package static func generate(at unixSeconds: Int64) throws(DTLSError) -> DTLSCertificate {
        guard let key = unsafe copenssl_EVP_EC_gen("P-256") else {
            throw OpenSSLErrors.failure("cannot make a P-256 key")
        }
        guard let certificate = unsafe X509_new() else {
            unsafe EVP_PKEY_free(key)
            throw OpenSSLErrors.failure("cannot make a certificate")
        }
        var isDone = false
        defer {
            if !isDone {
                unsafe X509_free(certificate)
                unsafe EVP_PKEY_free(key)
            }
        }
        var generator = SystemRandomNumberGenerator()
        let serial = UInt64.random(in: 1...UInt64(Int64.max), using: &generator)
        var when = time_t(unixSeconds)
        let name = unsafe X509_get_subject_name(certificate)
        let commonName = Array("WebRTC \(String(UInt32.random(in: 0 ... .max, using: &generator), radix: 16))".utf8)
        guard unsafe X509_set_version(certificate, 2) == 1,
            unsafe ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) == 1,
            unsafe X509_time_adj_ex(X509_getm_notBefore(certificate), 0, -graceSeconds, &when) != nil,
            unsafe X509_time_adj_ex(X509_getm_notAfter(certificate), 0, validSeconds, &when) != nil,
            unsafe X509_NAME_add_entry_by_txt(
                name,
                "CN",
                utf8StringType,
                commonName,
                Int32(commonName.count),
                -1,
                0
            ) == 1,
            unsafe X509_set_issuer_name(certificate, name) == 1,
            unsafe X509_set_pubkey(certificate, key) == 1,
            unsafe X509_sign(certificate, key, EVP_sha256()) > 0
        else { throw OpenSSLErrors.failure("cannot fill the certificate") }
        isDone = true
        return unsafe try DTLSCertificate(certificate: certificate, key: key)
    }

    /// The hash of a certificate; nil for an algorithm that is not accepted.
    static func fingerprint(of certificate: OpaquePointer, algorithm: String) -> DTLSFingerprint? {
        let digest: OpaquePointer?
        switch algorithm {
        case "sha-256": unsafe digest = EVP_sha256()
        case "sha-384": unsafe digest = EVP_sha384()
        case "sha-512": unsafe digest = EVP_sha512()
        default: return nil
        }
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard unsafe X509_digest(certificate, digest, &bytes, &count) == 1 else { return nil }
        return DTLSFingerprint(algorithm: algorithm, bytes: Array(bytes.prefix(Int(count))))
    }
}

/// `MBSTRING_UTF8`, a macro with a cast.
private let utf8StringType: Int32 = 0x1000

/// OpenSSL's queue of errors of this thread.
enum OpenSSLErrors {
    /// Empties the queue, so that what comes next is told from what was.
    static func clear() { ERR_clear_error() }

    /// The oldest error's text; empties the queue.
    static func take() -> String {
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0 else { return "no details" }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            unsafe ERR_error_string_n(code, buffer.baseAddress, buffer.count)
            guard let text = buffer.baseAddress else { return "no details" }
            return unsafe String(cString: text)
        }
    }

    static func failure(_ what: String) -> DTLSError { .openSSL("\(what): \(take())") }
}
