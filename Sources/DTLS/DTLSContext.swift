internal import COpenSSL

/// The settings that all connections with one certificate share: an `SSL_CTX`.
///
/// Not changed after `init`, so usable from every thread; OpenSSL counts the references of its connections.
@safe final class DTLSContext: Sendable {
    // SSL_CTX *. Safe from every thread: written in `init` alone, and OpenSSL locks what it changes inside.
    nonisolated(unsafe) let pointer: OpaquePointer

    // Takes an X509 * and an EVP_PKEY *, to which the context takes references.
    init(certificate: OpaquePointer, key: OpaquePointer) throws(DTLSError) {
        OpenSSLErrors.clear()
        guard let context = unsafe SSL_CTX_new(DTLS_method()) else { throw OpenSSLErrors.drained("SSL_CTX_new") }
        guard unsafe Self.configure(context, certificate: certificate, key: key) else {
            unsafe SSL_CTX_free(context)
            throw OpenSSLErrors.drained("SSL_CTX")
        }
        unsafe pointer = context
    }

    deinit {
        unsafe SSL_CTX_free(pointer)
    }

    private static func configure(_ context: OpaquePointer, certificate: OpaquePointer, key: OpaquePointer) -> Bool {
        // "All implementations MUST support DTLS 1.2" (RFC 8827 §6.5); OpenSSL 3 has no 1.3.
        guard unsafe copenssl_SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION) == 1,
            unsafe copenssl_SSL_CTX_set_max_proto_version(context, DTLS1_2_VERSION) == 1,
            unsafe SSL_CTX_set_cipher_list(context, cipherList) == 1,
            unsafe copenssl_SSL_CTX_set1_groups_list(context, groupList) == 1,
            unsafe SSL_CTX_use_certificate(context, certificate) == 1,
            unsafe SSL_CTX_use_PrivateKey(context, key) == 1
        else { return false }
        unsafe SSL_CTX_set_options(
            context,
            copenssl_SSL_OP_NO_QUERY_MTU | copenssl_SSL_OP_NO_TICKET | copenssl_SSL_OP_NO_RENEGOTIATION
                | copenssl_SSL_OP_CIPHER_SERVER_PREFERENCE
        )
        // Sessions are never resumed: each connection authenticates both ends anew.
        unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_CERT_LIST, maximumCertificateListByteCount, nil)
        // Both ends ask for a certificate; what decides is the fingerprint, not a chain to an authority.
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        unsafe SSL_CTX_set_cert_verify_callback(
            context,
            { store, _ in
                guard let transport = unsafe DTLSTransport.from(store: store) else { return 0 }
                let accepted = unsafe transport.acceptsCertificate(X509_STORE_CTX_get0_cert(store))
                // The error decides which alert goes out: bad_certificate, as RFC 8122 §6.2 asks.
                if !accepted { unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED) }
                return accepted ? 1 : 0
            },
            nil
        )
        unsafe SSL_CTX_set_info_callback(context) { ssl, kind, value in
            unsafe DTLSTransport.from(ssl: ssl)?.noteAlert(kind: kind, value: value)
        }
        return unsafe addRecordSizeLimit(to: context)
    }

    /// Tells the peer, if it asks or is asked, that records of any length are read here, and learns what it reads.
    ///
    /// RFC 8449
    private static func addRecordSizeLimit(to context: OpaquePointer) -> Bool {
        unsafe SSL_CTX_add_custom_ext(
            context,
            recordSizeLimitExtension,
            UInt32(SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_2_SERVER_HELLO),
            { _, _, _, out, byteCount, _, _, _, _ in
                unsafe out?.pointee = UnsafePointer(DTLSContext.recordSizeLimitBytes)
                unsafe byteCount?.pointee = 2
                return 1
            },
            nil,
            nil,
            { ssl, _, _, bytes, byteCount, _, _, alert, _ in
                guard let bytes = unsafe bytes, byteCount == 2 else {
                    unsafe alert?.pointee = SSL_AD_DECODE_ERROR
                    return 0
                }
                let limit = unsafe Int(bytes[0]) << 8 | Int(bytes[1])
                guard limit >= DTLSTransport.smallestRecordSizeLimit else {
                    unsafe alert?.pointee = SSL_AD_ILLEGAL_PARAMETER
                    return 0
                }
                unsafe DTLSTransport.from(ssl: ssl)?.counters.remoteRecordSizeLimit = limit
                return 1
            },
            nil
        ) == 1
    }

    /// RFC 8449 §6.
    private static let recordSizeLimitExtension: UInt32 = 28
    // 16 384 in network order. Written once before anyone reads it, never freed: safe from every thread.
    nonisolated(unsafe) private static let recordSizeLimitBytes: UnsafeMutablePointer<UInt8> = {
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 2)
        unsafe bytes[0] = UInt8(DTLSTransport.maximumMessageByteCount >> 8)
        unsafe bytes[1] = UInt8(DTLSTransport.maximumMessageByteCount & 0xFF)
        return unsafe bytes
    }()

    // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 is the one that all must have (RFC 8827 §6.5); the RSA suites are for
    // peers with such a certificate. CBC suites are left out: every peer in use has an AEAD one.
    private static let cipherList = """
        ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
        ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
        ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
        """
    /// X25519 alone would exclude certificates over P-256.
    private static let groupList = "X25519:P-256:P-384"
    /// Bytes of certificates that a peer may send; also bounds what is reassembled.
    private static let maximumCertificateListByteCount = 16_384
}
