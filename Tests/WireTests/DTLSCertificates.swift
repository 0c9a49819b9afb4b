import DTLS
import Testing

@Suite struct DTLSCertificates {
    @Test func `each certificate has another key, name and fingerprint`() throws {
        let certificates = try (0..<8).map { _ in try DTLSCertificate.generate(at: 1_700_000_000) }
        #expect(Set(certificates.map(\.fingerprint)).count == 8)
        #expect(Set(certificates.map(\.derBytes)).count == 8)
    }

    @Test func `a certificate is valid from a day ago for thirty days`() throws {
        let certificate = try DTLSCertificate.generate(at: 1_700_000_000)  // 2023-11-14 22:13:20
        #expect(certificate.expires == 1_700_000_000 + 30 * 86_400)
        let der = certificate.derBytes
        let validity = [[0x17, 13] + Array("231113221320Z".utf8), [0x17, 13] + Array("231214221320Z".utf8)].flatMap {
            $0
        }
        #expect(der.indices.contains { der[$0...].starts(with: validity) })
    }

    @Test func `a certificate of another lifetime ends when asked`() throws {
        let certificate = try DTLSCertificate.generate(at: 1_700_000_000, lifetimeSeconds: 86_400)
        let end = Array("231115221320Z".utf8)
        #expect(certificate.derBytes.indices.contains { certificate.derBytes[$0...].starts(with: end) })
    }

    @Test func `times beyond any calendar are refused`() {
        #expect(throws: DTLSError.self) { try DTLSCertificate.generate(at: .max) }
        #expect(throws: DTLSError.self) { try DTLSCertificate.generate(at: .min) }
        #expect(throws: DTLSError.self) { try DTLSCertificate.generate(at: .max / 2) }
    }

    @Test func `the fingerprint is SHA-256 and others can be had`() throws {
        let certificate = try DTLSCertificate.generate(at: 1_700_000_000)
        #expect(certificate.fingerprint.algorithm == "sha-256")
        #expect(certificate.fingerprint(algorithm: .sha256) == certificate.fingerprint)
        #expect(certificate.fingerprint(algorithm: .sha512)?.bytes.count == 64)
        let text = certificate.fingerprint.attributeValue
        #expect(DTLSFingerprint(attributeValue: text) == certificate.fingerprint)
    }
}
