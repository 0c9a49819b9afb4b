internal import COpenSSL
import NIOCore
import NIOSSL

/// How a client makes sure that it speaks with the right server.
struct ServerTrust: Sendable {
    private let context: NIOSSLContext
    /// SHA-256 of the only certificate that is taken, or nil for what the authorities vouch for.
    private let pinned: CertificateFingerprint?

    init(certificate: String?, fingerprint: String?, allowsAnyCertificate: Bool) throws(SignalingError) {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.shutdownTimeout = .milliseconds(300)
        if let fingerprint {
            guard let parsed = CertificateFingerprint(fingerprint) else {
                throw SignalingError(
                    .certificate,
                    "“\(Wire.excerpt(fingerprint))” is no SHA-256 of a certificate: 64 hexadecimal digits, colons between them or not",
                    isFatal: true
                )
            }
            pinned = parsed
        } else {
            pinned = nil
        }
        do {
            if let certificate {
                configuration.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMFile(certificate))]
            }
            if allowsAnyCertificate { configuration.certificateVerification = .none }
            context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw SignalingError(.certificate, "The certificate cannot be used: \(error)", isFatal: true)
        }
    }

    // `report` is told when the certificate is another one than the pinned.
    func makeHandler(
        for server: ServerURL,
        report: @escaping @Sendable (SignalingError.Code, String) -> Void
    ) throws -> NIOSSLClientHandler {
        // A name is sent and checked against the certificate; an address is not sent.
        let isAddress = (try? SocketAddress(ipAddress: server.host, port: 0)) != nil
        let name = isAddress ? nil : server.host
        guard let pinned else { return try NIOSSLClientHandler(context: context, serverHostname: name) }
        return try NIOSSLClientHandler(context: context, serverHostname: name) { chain, promise in
            let met = chain.first.flatMap { try? $0.toDERBytes() }.map { CertificateFingerprint(of: $0) }
            if met == pinned { return promise.succeed(.certificateVerified) }
            let words = met.map { "its certificate has the SHA-256 \($0)" } ?? "it has no certificate"
            report(.certificate, "\(words), not the one that was given")
            promise.succeed(.failed)
        }
    }
}

/// SHA-256 of a certificate's DER, written as "AB:CD:…".
struct CertificateFingerprint: Hashable, Sendable, CustomStringConvertible {
    private let bytes: [UInt8]

    init(of certificate: [UInt8]) {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        // Cannot fail but for lack of memory; then the fingerprint is empty and equals none that was read.
        _ = unsafe EVP_Digest(certificate, certificate.count, &digest, &count, EVP_sha256(), nil)
        bytes = Array(digest.prefix(Int(count)))
    }

    /// Reads 64 hexadecimal digits, with colons anywhere between them; nil for anything else.
    init?(_ text: String) {
        guard text.utf8.count <= 3 * 32 else { return nil }
        let digits = text.utf8.filter { $0 != UInt8(ascii: ":") }.map { Character(Unicode.Scalar($0)).hexDigitValue }
        guard digits.count == 64 else { return nil }
        var read: [UInt8] = []
        for index in stride(from: 0, to: 64, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            read.append(UInt8(high << 4 | low))
        }
        bytes = read
    }

    var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined(separator: ":")
    }
}
