/// Why a DTLS transport cannot be used.
package enum DTLSError: Error, Hashable, Sendable, CustomStringConvertible {
    /// OpenSSL failed; what it was doing and its own words.
    case openSSL(String)
    /// The handshake failed; OpenSSL's words or the peer's alert.
    case handshakeFailed(String)
    /// The peer's certificate has none of the fingerprints that its description announced.
    case fingerprintMismatch(received: DTLSFingerprint?)
    /// The peer ended the session by a fatal alert.
    case alert(String)
    /// There is no session to send on.
    case notConnected
    /// The message does not fit one record.
    case messageTooLarge(limit: Int)

    package var description: String {
        switch self {
        case .openSSL(let text): "OpenSSL: \(text)"
        case .handshakeFailed(let text): "the handshake failed: \(text)"
        case .fingerprintMismatch(let received):
            "the peer's certificate (\(received?.attributeValue ?? "none")) is not the one its description announced"
        case .alert(let text): "the peer ended the session: \(text)"
        case .notConnected: "the DTLS session is not connected"
        case .messageTooLarge(let limit): "a DTLS record takes at most \(limit) bytes here"
        }
    }
}
