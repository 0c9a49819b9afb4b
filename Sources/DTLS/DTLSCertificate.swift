internal import COpenSSL

/// A private key with its self-signed certificate, by which this end is known to its peers.
///
/// Owns the key, the certificate and the `SSL_CTX` that all connections with this certificate share (making one costs
/// more than a key). Immutable, and OpenSSL counts references to all three atomically: usable from every thread.
///
/// webrtc-pc §4.9
@safe package final class DTLSCertificate: Sendable {
    /// The kind of key.
    package enum KeyKind: Hashable, Sendable {
        /// ECDSA over P-256, the default: small and fast.
        case ecdsaP256
        /// RSA with 2048 bits, for peers that know nothing else; takes some 100 ms to make.
        case rsa2048
    }

    /// The SHA-256 fingerprint, which goes into `a=fingerprint`.
    package let fingerprint: DTLSFingerprint
    /// The certificate's DER encoding.
    package let derBytes: [UInt8]
    /// When the certificate ceases to be valid, in seconds since 1970.
    package let expires: Int64

    let context: DTLSContext

    /// Makes a key and a certificate with a random name and serial number.
    ///
    /// - Parameters:
    ///   - unixSeconds: the time, in seconds since 1970.
    ///   - keyKind: the kind of key.
    ///   - lifetimeSeconds: how long the certificate is valid from now on. It is also valid for one day back, for
    ///     peers whose clock is slow.
    /// - Returns: the certificate.
    /// - Throws: `.library` when OpenSSL refuses.
    package static func generate(
        at unixSeconds: Int64,
        keyKind: KeyKind = .ecdsaP256,
        lifetimeSeconds: Int64 = defaultLifetimeSeconds
    ) throws(DTLSError) -> DTLSCertificate {
        // Every connection begins with a certificate.
        copenssl_outlive_exit()
        OpenSSLErrors.clear()
        guard let key = unsafe makeKey(keyKind) else { throw OpenSSLErrors.drained("EVP_PKEY_keygen") }
        defer { unsafe EVP_PKEY_free(key) }
        guard let certificate = unsafe X509_new() else { throw OpenSSLErrors.drained("X509_new") }
        defer { unsafe X509_free(certificate) }
        let end = unixSeconds.addingReportingOverflow(lifetimeSeconds)
        guard !end.overflow, unixSeconds > .min + allowedClockSkewSeconds,
            unsafe fill(
                certificate,
                key: key,
                from: unixSeconds - allowedClockSkewSeconds,
                to: end.partialValue
            )
        else { throw OpenSSLErrors.drained("X509_sign") }
        return try unsafe DTLSCertificate(certificate: certificate, key: key, expires: end.partialValue)
    }

    /// The fingerprint by another hash function.
    package func fingerprint(algorithm: CertificateHash) -> DTLSFingerprint? {
        Self.fingerprint(ofDER: derBytes, by: algorithm)
    }

    // MARK: - Private

    // Takes an X509 * and an EVP_PKEY *, to which the context takes references.
    private init(certificate: OpaquePointer, key: OpaquePointer, expires: Int64) throws(DTLSError) {
        derBytes = try unsafe Self.derBytes(of: certificate)
        guard let fingerprint = Self.fingerprint(ofDER: derBytes, by: .sha256) else {
            throw OpenSSLErrors.drained("EVP_Digest")
        }
        self.fingerprint = fingerprint
        self.expires = expires
        context = try unsafe DTLSContext(certificate: certificate, key: key)
    }

    private static func makeKey(_ kind: KeyKind) -> OpaquePointer? {
        switch kind {
        case .ecdsaP256:
            return unsafe copenssl_EVP_EC_gen("P-256")
        case .rsa2048:
            guard let context = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, nil) else { return nil }
            defer { unsafe EVP_PKEY_CTX_free(context) }
            var key: OpaquePointer?
            guard unsafe EVP_PKEY_keygen_init(context) == 1,
                unsafe EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048) == 1,
                unsafe EVP_PKEY_keygen(context, &key) == 1
            else { return nil }
            return unsafe key
        }
    }

    /// Fills in an X.509 v3 certificate and signs it with its own key (RFC 5280 §4.1).
    private static func fill(_ certificate: OpaquePointer, key: OpaquePointer, from: Int64, to: Int64) -> Bool {
        var random = [UInt8](repeating: 0, count: 16)
        guard unsafe RAND_bytes(&random, Int32(random.count)) == 1, let serial = unsafe BN_bin2bn(random, 8, nil) else {
            return false
        }
        defer { unsafe BN_free(serial) }
        var name = random[8...].flatMap { [Self.hexDigits[Int($0 >> 4)], Self.hexDigits[Int($0 & 15)]] }
        guard unsafe X509_set_version(certificate, 2) == 1,  // 2 means version 3
            unsafe BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate)) != nil,
            unsafe ASN1_TIME_set(X509_getm_notBefore(certificate), time_t(from)) != nil,
            unsafe ASN1_TIME_set(X509_getm_notAfter(certificate), time_t(to)) != nil,
            let subject = unsafe X509_get_subject_name(certificate),
            unsafe X509_NAME_add_entry_by_txt(subject, "CN", Self.asciiString, &name, Int32(name.count), -1, 0) == 1,
            unsafe X509_set_issuer_name(certificate, subject) == 1,
            unsafe X509_set_pubkey(certificate, key) == 1
        else { return false }
        return unsafe X509_sign(certificate, key, EVP_sha256()) > 0
    }

    // Takes an X509 *.
    static func derBytes(of certificate: OpaquePointer) throws(DTLSError) -> [UInt8] {
        let byteCount = unsafe i2d_X509(certificate, nil)
        guard byteCount > 0 else { throw OpenSSLErrors.drained("i2d_X509") }
        var bytes = [UInt8](repeating: 0, count: Int(byteCount))
        let written = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            // i2d moves the pointer it is given.
            var position = buffer.baseAddress
            return unsafe i2d_X509(certificate, &position)
        }
        guard written == byteCount else { throw OpenSSLErrors.drained("i2d_X509") }
        return bytes
    }

    static func fingerprint(ofDER bytes: [UInt8], by hash: CertificateHash) -> DTLSFingerprint? {
        let type =
            switch hash {
            case .sha224: unsafe EVP_sha224()
            case .sha256: unsafe EVP_sha256()
            case .sha384: unsafe EVP_sha384()
            case .sha512: unsafe EVP_sha512()
            }
        var digest = [UInt8](repeating: 0, count: hash.byteCount)
        guard unsafe EVP_Digest(bytes, bytes.count, &digest, nil, type, nil) == 1 else { return nil }
        return DTLSFingerprint(algorithm: hash.rawValue, bytes: digest)
    }

    /// 30 days, as browsers do (webrtc-pc §4.9.1 leaves it to the implementation).
    package static let defaultLifetimeSeconds: Int64 = 30 * 86_400
    private static let allowedClockSkewSeconds: Int64 = 86_400
    /// `MBSTRING_ASC`, which is a macro of macros.
    private static let asciiString: Int32 = 0x1001
    private static let hexDigits = Array("0123456789abcdef".utf8)
}
