/// Why a certificate was not made, a handshake failed, or a message was not sent.
package enum DTLSError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The peer's certificate has none of the fingerprints that signalling announced, but this one.
    case fingerprintMismatch(received: DTLSFingerprint?)
    /// Signalling announced only fingerprints by hash functions that are not accepted.
    case noUsableFingerprint
    /// The peer presented no certificate.
    case noPeerCertificate
    /// The peer ended the connection with a fatal alert of this number (RFC 5246 §7.2).
    case alertReceived(UInt8)
    /// The peer closed before the handshake was complete.
    case closedDuringHandshake
    /// A flight was repeated as often as OpenSSL does, without an answer.
    case timedOut
    /// Nothing can be sent before `.connected`, nor after the end.
    case notConnected
    /// A record holds 16384 bytes.
    case messageTooLarge
    /// Anything else that OpenSSL reports, in its words.
    case library(String)

    package var description: String {
        switch self {
        case .fingerprintMismatch(let received):
            "the peer's certificate (\(received?.attributeValue ?? "none")) is not the one its description announced"
        case .noUsableFingerprint: "the peer's description has no fingerprint by an accepted hash function"
        case .noPeerCertificate: "the peer presented no certificate"
        case .alertReceived(let number): "the peer ended the session with alert \(number)"
        case .closedDuringHandshake: "the peer closed the session during the handshake"
        case .timedOut: "the peer does not answer"
        case .notConnected: "the session is not connected"
        case .messageTooLarge: "a record holds at most \(DTLSTransport.maximumMessageByteCount) bytes"
        case .library(let text): "OpenSSL: \(text)"
        }
    }
}
