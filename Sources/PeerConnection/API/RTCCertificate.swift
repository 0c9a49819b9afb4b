internal import DTLS
internal import Glibc
internal import Locking

/// A self-signed P-256 certificate that names a connection in the DTLS handshake. webrtc-pc §4.9
///
/// Making one costs about 0.05 ms. Reusing one lets a peer recognise this side across connections.
public struct RTCCertificate: Sendable {
    let certificate: DTLSCertificate

    /// The certificate of connections that are given none, made once a process (and once more a day, so that a
    /// process that runs for months does not show an expired one).
    ///
    /// First users at the same moment may each make one; the last is kept.
    static func processWide() throws(RTCError) -> RTCCertificate {
        let now = Int64(time(nil))
        let (known, made) = shared.withLock { $0 }
        if let known, now - made < 86_400 { return known }
        let new = try RTCCertificate()
        shared.withLock { $0 = (new, now) }
        return new
    }

    private static let shared = Mutex<(RTCCertificate?, Int64)>((nil, 0))

    /// A new certificate, valid for 30 days.
    ///
    /// - Throws: `OperationError` if OpenSSL cannot make a key.
    public init() throws(RTCError) {
        do {
            certificate = try DTLSCertificate.generate(at: Int64(time(nil)))
        } catch {
            throw RTCError(.operationError, "cannot make a certificate: \(error)", errorDetail: .dtlsFailure)
        }
    }

    /// The SHA-256 fingerprint as in SDP: `sha-256 AB:CD:…` (RFC 8122 §5).
    public var fingerprint: String { certificate.fingerprint.attributeValue }
}
