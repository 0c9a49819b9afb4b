internal import COpenSSL

/// What all sessions with one certificate share: an `SSL_CTX` and the BIO method that carries datagrams.
@safe final class DTLSContext: Sendable {
    /// Not changed after init; OpenSSL locks what sessions share in it.
    nonisolated(unsafe) let context: OpaquePointer  // SSL_CTX *

    private static let ciphers = """
        ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
        ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
        ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA
        """
    /// X25519 alone would find no cipher for a P-256 certificate: the group list covers both.
    private static let groups = "X25519:P-256:P-384"

    init(certificate: OpaquePointer, key: OpaquePointer) throws(DTLSError) {
        OpenSSLErrors.clear()
        guard let context = unsafe SSL_CTX_new(DTLS_method()) else {
            throw OpenSSLErrors.failure("cannot make a context")
        }
        unsafe self.context = context
        guard unsafe copenssl_SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION) == 1,
            unsafe copenssl_SSL_CTX_set_max_proto_version(context, DTLS1_2_VERSION) == 1,
            unsafe copenssl_SSL_CTX_set1_groups_list(context, Self.groups) == 1,
            unsafe SSL_CTX_set_cipher_list(context, Self.ciphers) == 1,
            unsafe SSL_CTX_use_certificate(context, certificate) == 1,
            unsafe SSL_CTX_use_PrivateKey(context, key) == 1
        else { throw OpenSSLErrors.failure("cannot set up the context") }
        unsafe SSL_CTX_set_options(
            context,
            copenssl_SSL_OP_NO_QUERY_MTU | copenssl_SSL_OP_NO_TICKET | copenssl_SSL_OP_NO_RENEGOTIATION
        )
        // Certificates are self-signed: the fingerprint in the description decides, after the handshake.
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT) { _, _ in 1 }
    }

    deinit { unsafe SSL_CTX_free(context) }
}

/// The BIO whose writes are datagrams: a memory BIO would join them.
enum DatagramBIO {
    /// Immutable after its first use.
    nonisolated(unsafe) private static let method: OpaquePointer? = unsafe makeMethod()  // BIO_METHOD *

    /// A BIO that reads and writes through `transport`, which must outlive it.
    static func make(for transport: DTLSTransport) -> OpaquePointer? {  // BIO *
        guard let method = unsafe method, let bio = unsafe BIO_new(method) else { return nil }
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(transport).toOpaque())
        unsafe BIO_set_init(bio, 1)
        return unsafe bio
    }

    static func transport(of bio: OpaquePointer?) -> DTLSTransport? {
        guard let bio = unsafe bio, let data = unsafe BIO_get_data(bio) else { return nil }
        return unsafe Unmanaged<DTLSTransport>.fromOpaque(data).takeUnretainedValue()
    }

    private static func makeMethod() -> OpaquePointer? {
        guard let method = unsafe BIO_meth_new(BIO_get_new_index() | sourceSinkType, "datagram") else {
            return nil
        }
        unsafe BIO_meth_set_write(method) { bio, bytes, count in
            guard let transport = unsafe DatagramBIO.transport(of: bio), let bytes = unsafe bytes, count > 0 else {
                return -1
            }
            unsafe transport.write(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
            return count
        }
        unsafe BIO_meth_set_read(method) { bio, buffer, count in
            guard let transport = unsafe DatagramBIO.transport(of: bio), let buffer = unsafe buffer, count > 0 else {
                return -1
            }
            unsafe copenssl_BIO_clear_retry_flags(bio)
            let taken = unsafe transport.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: Int(count)))
            if taken == 0 {
                unsafe copenssl_BIO_set_retry_read(bio)
                return -1
            }
            return Int32(truncatingIfNeeded: taken)
        }
        unsafe BIO_meth_set_ctrl(method) { bio, command, _, _ in
            switch command {
            case BIO_CTRL_FLUSH, BIO_CTRL_DUP: 1
            case BIO_CTRL_DGRAM_QUERY_MTU, BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
                unsafe DatagramBIO.transport(of: bio)?.mtu ?? 1200
            default: 0
            }
        }
        return unsafe method
    }
}

/// `BIO_TYPE_SOURCE_SINK`, which is not imported.
private let sourceSinkType: Int32 = 0x0400
