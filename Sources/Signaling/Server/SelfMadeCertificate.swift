internal import COpenSSL
import Glibc

/// A certificate that signs itself, for machines of a LAN that no authority vouches for.
///
/// P-256; valid for a year and a month, since browsers refuse longer ones. RFC 5280
struct SelfMadeCertificate {
    /// DER.
    let certificate: [UInt8]
    /// DER, as RFC 5915.
    let key: [UInt8]
    /// SHA-256 of the certificate, as "AB:CD:…".
    let fingerprint: String

    static func generate(names: [String], addresses: [String]) throws(SignalingError) -> SelfMadeCertificate {
        func failure(_ step: String) -> SignalingError {
            SignalingError(.certificate, "OpenSSL cannot make a certificate: \(step).")
        }
        // Owned here: EVP_PKEY *, X509 *, X509_EXTENSION *.
        guard let key = unsafe copenssl_EVP_EC_gen("P-256") else { throw failure("no key") }
        defer { unsafe EVP_PKEY_free(key) }
        guard let certificate = unsafe X509_new() else { throw failure("no memory") }
        defer { unsafe X509_free(certificate) }
        var generator = SystemRandomNumberGenerator()
        let serial = Int(generator.next() as UInt64 >> 2)
        let organisation = Array("Self-made".utf8)
        let commonName = Array((names.last ?? "localhost").utf8)
        // The name and the times belong to the certificate.
        guard unsafe X509_set_version(certificate, 2) == 1,
            unsafe ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial) == 1,
            unsafe X509_gmtime_adj(X509_getm_notBefore(certificate), -secondsPerDay) != nil,
            unsafe X509_gmtime_adj(X509_getm_notAfter(certificate), validDays * secondsPerDay) != nil,
            let name = unsafe X509_get_subject_name(certificate),
            unsafe X509_NAME_add_entry_by_txt(
                name,
                "O",
                mbstringUTF8,
                organisation,
                Int32(organisation.count),
                -1,
                0
            ) == 1,
            unsafe X509_NAME_add_entry_by_txt(
                name,
                "CN",
                mbstringUTF8,
                commonName,
                Int32(commonName.count),
                -1,
                0
            ) == 1,
            unsafe X509_set_issuer_name(certificate, name) == 1, unsafe X509_set_pubkey(certificate, key) == 1
        else { throw failure("a field is refused") }
        let alternatives = names.map { "DNS:" + $0 } + addresses.map { "IP:" + $0 }
        let extensions: [(Int32, String)] = [
            (NID_subject_alt_name, alternatives.joined(separator: ",")),
            (NID_basic_constraints, "critical,CA:FALSE"),
            // No key usage: with one that lacks keyCertSign it counts as signed by somebody else, and a client that was
            // given it as a root does not find it.
            (NID_ext_key_usage, "serverAuth"),
        ]
        for (identifier, value) in extensions {
            guard let item = unsafe X509V3_EXT_conf_nid(nil, nil, identifier, value) else {
                throw failure("the extension “\(value)” is refused")
            }
            defer { unsafe X509_EXTENSION_free(item) }
            guard unsafe X509_add_ext(certificate, item, -1) == 1 else { throw failure("an extension is refused") }
        }
        guard unsafe X509_sign(certificate, key, EVP_sha256()) > 0 else { throw failure("no signature") }
        guard let certificateBytes = unsafe bytes(writtenBy: { unsafe i2d_X509(certificate, $0) }),
            let keyBytes = unsafe bytes(writtenBy: { unsafe i2d_PrivateKey(key, $0) })
        else { throw failure("it cannot be written") }
        return SelfMadeCertificate(certificate: certificateBytes, key: keyBytes)
    }

    private init(certificate: [UInt8], key: [UInt8]) {
        self.certificate = certificate
        self.key = key
        fingerprint = CertificateFingerprint(of: certificate).description
    }

    // MARK: Files

    /// One that was saved there, is whole, and is valid for another week at least.
    init?(savedIn directory: String) {
        guard let certificate = PEM.read(directory + "/" + Self.certificateFile, label: Self.certificateLabel),
            let key = PEM.read(directory + "/" + Self.keyFile, label: Self.keyLabel),
            Self.isValid(certificate, forSeconds: 7 * Self.secondsPerDay)
        else { return nil }
        self.init(certificate: certificate, key: key)
    }

    /// Saves both files, the key readable by this user alone.
    func save(in directory: String) throws(SignalingError) {
        guard unsafe mkdir(directory, 0o700) == 0 || errno == EEXIST,
            PEM.write(key, label: Self.keyLabel, to: directory + "/" + Self.keyFile, mode: 0o600),
            PEM.write(
                certificate,
                label: Self.certificateLabel,
                to: directory + "/" + Self.certificateFile,
                mode: 0o644
            )
        else {
            throw SignalingError(
                .certificate,
                unsafe "The certificate cannot be kept in “\(directory)”: \(String(cString: unsafe strerror(errno)))."
            )
        }
    }

    private static func isValid(_ certificate: [UInt8], forSeconds seconds: Int) -> Bool {
        unsafe certificate.withUnsafeBufferPointer { buffer in
            var cursor = buffer.baseAddress
            guard let parsed = unsafe d2i_X509(nil, &cursor, buffer.count) else {
                ERR_clear_error()
                return false
            }
            defer { unsafe X509_free(parsed) }
            var then = time(nil) + seconds
            return unsafe X509_cmp_time(X509_get0_notAfter(parsed), &then) > 0
        }
    }

    /// Runs one of OpenSSL's i2d functions: it allocates when given a null pointer.
    private static func bytes(
        writtenBy encode: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>) -> Int32
    ) -> [UInt8]? {
        var pointer: UnsafeMutablePointer<UInt8>?
        let count = unsafe encode(&pointer)
        guard count > 0, let pointer = unsafe pointer else { return nil }
        defer { unsafe CRYPTO_free(pointer, #file, #line) }
        return unsafe Array(unsafe UnsafeBufferPointer(start: pointer, count: Int(count)))
    }

    private static let secondsPerDay = 86_400
    /// Apple's systems refuse more than 398 days from certificates of the web.
    private static let validDays = 396
    /// MBSTRING_UTF8, a macro with a cast: 0x1000 is MBSTRING_FLAG.
    private static let mbstringUTF8: Int32 = 0x1000
    static let certificateFile = "signaling-certificate.pem"
    static let keyFile = "signaling-key.pem"
    private static let certificateLabel = "CERTIFICATE"
    private static let keyLabel = "EC PRIVATE KEY"
}
