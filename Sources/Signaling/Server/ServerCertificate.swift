import NIOCore
package import NIOSSL

/// A server's certificate chain and private key.
package struct ServerCertificate: Sendable {
    private let chain: [NIOSSLCertificate]
    private let key: NIOSSLPrivateKey
    /// Of a self-made one.
    let fingerprint: String?

    package init(source: SignalingTLS) throws(SignalingError) {
        switch source {
        case .files(let certificate, let key):
            (chain, self.key) = try Self.load(certificate, key)
            fingerprint = nil
        case .selfMade(let directory):
            var made: SelfMadeCertificate?
            if let directory { made = SelfMadeCertificate(savedIn: directory) }
            let certificate: SelfMadeCertificate
            if let made {
                certificate = made
            } else {
                certificate = try SelfMadeCertificate.generate(
                    names: Self.names,
                    addresses: Self.addresses
                )
                if let directory { try certificate.save(in: directory) }
            }
            do {
                chain = [try NIOSSLCertificate(bytes: certificate.certificate, format: .der)]
                key = try NIOSSLPrivateKey(bytes: certificate.key, format: .der)
            } catch { throw SignalingError(.certificate, "The self-made certificate cannot be used: \(error)") }
            fingerprint = certificate.fingerprint
        }
    }

    /// What a server's connections need.
    ///
    /// - Parameter protocols: what is offered by ALPN (RFC 7301).
    /// - Returns: the context of a server.
    /// - Throws: `SignalingError` if certificate and key do not fit together.
    package func makeContext(protocols: [String]) throws(SignalingError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(key)
        )
        configuration.minimumTLSVersion = .tlsv12
        // Browsers seldom answer close_notify; the server's end does not wait for them.
        configuration.shutdownTimeout = .milliseconds(300)
        configuration.applicationProtocols = protocols
        do { return try NIOSSLContext(configuration: configuration) } catch {
            throw SignalingError(.certificate, "The certificate and its key cannot be used: \(error)")
        }
    }

    private static func load(
        _ certificate: String,
        _ key: String
    ) throws(SignalingError) -> ([NIOSSLCertificate], NIOSSLPrivateKey) {
        let chain: [NIOSSLCertificate]
        do { chain = try NIOSSLCertificate.fromPEMFile(certificate) } catch {
            throw SignalingError(.certificate, "“\(certificate)” cannot be read as a PEM certificate: \(error)")
        }
        do { return (chain, try NIOSSLPrivateKey(file: key, format: .pem)) } catch {
            throw SignalingError(.certificate, "“\(key)” cannot be read as a PEM private key: \(error)")
        }
    }

    private static var names: [String] {
        guard let own = LocalNames.hostName, own != "localhost" else { return ["localhost"] }
        return ["localhost", own] + (own.contains(".") ? [] : [own + ".local"])
    }

    private static var addresses: [String] {
        let all = LocalNames.addresses.map(\.text)
        return all + ["127.0.0.1", "::1"].filter { !all.contains($0) }
    }
}
