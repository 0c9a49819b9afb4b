package import SansIO

/// The SRTP master keys and salts of both directions, as the handshake exported them.
///
/// RFC 5764 §4.2
package struct SRTPKeyingMaterial: Hashable, Sendable {
    package let profile: SRTPProfileID
    package let clientKey: [UInt8]
    package let serverKey: [UInt8]
    package let clientSalt: [UInt8]
    package let serverSalt: [UInt8]

    /// Splits what the exporter gives: client key, server key, client salt, server salt.
    ///
    /// - Returns: nil if the length is not the profile's.
    init?(profile: SRTPProfileID, exported bytes: [UInt8]) {
        let key = profile.keyByteCount
        let salt = profile.saltByteCount
        guard bytes.count == Self.byteCount(for: profile) else { return nil }
        self.profile = profile
        clientKey = Array(bytes[..<key])
        serverKey = Array(bytes[key..<(2 * key)])
        clientSalt = Array(bytes[(2 * key)..<(2 * key + salt)])
        serverSalt = Array(bytes[(2 * key + salt)...])
    }

    /// What the end in `role` protects its packets with.
    package func outbound(role: DTLSRole) -> (key: [UInt8], salt: [UInt8]) {
        role == .client ? (clientKey, clientSalt) : (serverKey, serverSalt)
    }

    /// What the end in `role` unprotects the peer's packets with.
    package func inbound(role: DTLSRole) -> (key: [UInt8], salt: [UInt8]) {
        role == .client ? (serverKey, serverSalt) : (clientKey, clientSalt)
    }

    static func byteCount(for profile: SRTPProfileID) -> Int { 2 * (profile.keyByteCount + profile.saltByteCount) }
}
