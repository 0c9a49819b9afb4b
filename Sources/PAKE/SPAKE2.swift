// PAKE: two who know the same short code agree on a strong key, and whoever does not know it learns nothing but
// whether one guess was right. SPAKE2 with P256-SHA256-HKDF-HMAC (RFC 9382), over OpenSSL's P-256.
//
// SPAKE2 because it needs nothing but point addition and multiplication, which OpenSSL has in constant time for P-256
// and which a page can do without WebCrypto (a page on a LAN address has none); CPace would need a map from bytes to
// the curve, which neither offers. What travels, and how codes are used, is the application's affair.

internal import COpenSSL

/// Why a key exchange ended.
package enum SPAKE2Error: Error, Hashable, Sendable, CustomStringConvertible {
    /// The peer's share is no point of the curve, or one that no honest peer sends.
    case invalidShare
    /// The peer does not know the code.
    case wrongCode
    /// OpenSSL refused a call.
    case library(String)

    package var description: String {
        switch self {
        case .invalidShare: "the peer's share of the key exchange is not a point of P-256"
        case .wrongCode: "the peer does not know the code"
        case .library(let call): "\(call) failed"
        }
    }
}

/// One side of one key exchange. RFC 9382 §3
///
/// Used once: each guess needs an exchange of its own.
@safe package final class SPAKE2 {
    /// Which side this is: the two differ in a constant, and the transcript names A first.
    package enum Role: Sendable {
        case a
        case b
    }

    /// What both come to if both know the code.
    package struct Keys: Sendable {
        /// The shared key, 16 bytes (Ke), to be used only once the peer's confirmation was verified.
        package let sharedKey: [UInt8]
        /// What this side sends to show that it knows the key, 32 bytes.
        package let confirmation: [UInt8]
        fileprivate let expected: [UInt8]

        /// Checks what the peer sent to show that it knows the key.
        ///
        /// - Parameter confirmation: the peer's; any length.
        /// - Throws: `.wrongCode` if it is not the right one.
        package func verify(_ confirmation: [UInt8]) throws(SPAKE2Error) {
            guard confirmation.count == expected.count,
                unsafe CRYPTO_memcmp(confirmation, expected, expected.count) == 0
            else { throw .wrongCode }
        }
    }

    /// What goes to the peer: an uncompressed point, 65 bytes (pA or pB).
    package let share: [UInt8]

    private let role: Role
    private let identities: (a: [UInt8], b: [UInt8])
    private let curve: P256
    private let password: P256.Scalar
    private let secret: P256.Scalar

    /// Begins an exchange.
    ///
    /// - Parameters:
    ///   - role: the side; the peer has the other.
    ///   - code: what both know, any length. A code that was chosen for this one exchange needs no slow hash: what
    ///     travels cannot be tested against guesses.
    ///   - identityA: a name of side A that both use.
    ///   - identityB: a name of side B that both use.
    ///   - random: at least 48 random bytes, used for this exchange alone.
    /// - Throws: `.library` when OpenSSL refuses.
    package convenience init(
        role: Role,
        code: [UInt8],
        identityA: [UInt8],
        identityB: [UInt8],
        random: [UInt8]
    ) throws(SPAKE2Error) {
        guard random.count >= 48 else { throw .library("a source of 48 random bytes") }
        try self.init(
            role: role,
            password: HKDF.expand(
                HKDF.extract(salt: [], code),
                info: Array("PeerConnection SPAKE2 password".utf8),
                byteCount: 48
            ),
            secret: random,
            identityA: identityA,
            identityB: identityB
        )
    }

    /// Begins an exchange with given scalars, big endian, reduced modulo the group's order; for test vectors.
    package init(
        role: Role,
        password: [UInt8],
        secret: [UInt8],
        identityA: [UInt8],
        identityB: [UInt8]
    ) throws(SPAKE2Error) {
        curve = try P256()
        self.role = role
        identities = (identityA, identityB)
        self.password = try curve.scalar(password)
        self.secret = try curve.scalar(secret)
        let blind = try curve.multiply(curve.decode(Self.blind(of: role)), self.password)
        share = try curve.encode(curve.add(curve.multiplyGenerator(self.secret), blind))
    }

    /// Ends the exchange.
    ///
    /// - Parameters:
    ///   - peerShare: what the peer sent; any bytes.
    ///   - additionalData: what both must agree on besides the code; empty if nothing. RFC 9382 §4
    /// - Returns: the keys; the peer's are the same if it knows the code.
    /// - Throws: `.invalidShare`, or `.library` when OpenSSL refuses.
    package func finish(peerShare: [UInt8], additionalData: [UInt8] = []) throws(SPAKE2Error) -> Keys {
        guard peerShare.count == P256.pointByteCount, peerShare != share else { throw .invalidShare }
        let peer: P256.Point
        do throws(SPAKE2Error) { peer = try curve.decode(peerShare) } catch { throw .invalidShare }
        let blind = try curve.multiply(curve.decode(Self.blind(of: role == .a ? .b : .a)), password)
        let common = try curve.multiply(curve.subtract(peer, blind), secret)
        guard !curve.isInfinity(common) else { throw .invalidShare }

        var transcript: [UInt8] = []
        for part in [
            identities.a, identities.b, role == .a ? share : peerShare, role == .a ? peerShare : share,
            try curve.encode(common), try curve.bytes(of: password),
        ] {
            // The length in eight bytes, least significant first. RFC 9382 §3.3
            for index in 0..<8 { transcript.append(UInt8(truncatingIfNeeded: part.count >> (8 * index))) }
            transcript += part
        }
        let hash = try SHA256.digest(transcript)
        let confirmationKeys = try HKDF.expand(
            HKDF.extract(salt: [], Array(hash[16...])),
            info: Array("ConfirmationKeys".utf8) + additionalData,
            byteCount: 32
        )
        let confirmationA = try HMACSHA256.code(key: Array(confirmationKeys[..<16]), transcript)
        let confirmationB = try HMACSHA256.code(key: Array(confirmationKeys[16...]), transcript)
        return Keys(
            sharedKey: Array(hash[..<16]),
            confirmation: role == .a ? confirmationA : confirmationB,
            expected: role == .a ? confirmationB : confirmationA
        )
    }

    /// M for side A, N for side B. RFC 9382 §4 (P-256)
    private static func blind(of role: Role) -> [UInt8] {
        switch role {
        case .a:
            [
                0x02, 0x88, 0x6e, 0x2f, 0x97, 0xac, 0xe4, 0x6e, 0x55, 0xba, 0x9d, 0xd7, 0x24, 0x25, 0x79, 0xf2, 0x99,
                0x3b, 0x64, 0xe1, 0x6e, 0xf3, 0xdc, 0xab, 0x95, 0xaf, 0xd4, 0x97, 0x33, 0x3d, 0x8f, 0xa1, 0x2f,
            ]
        case .b:
            [
                0x03, 0xd8, 0xbb, 0xd6, 0xc6, 0x39, 0xc6, 0x29, 0x37, 0xb0, 0x4d, 0x99, 0x7f, 0x38, 0xc3, 0x77, 0x07,
                0x19, 0xc6, 0x29, 0xd7, 0x01, 0x4d, 0x49, 0xa2, 0x4b, 0x4f, 0x98, 0xba, 0xa1, 0x29, 0x2b, 0x49,
            ]
        }
    }
}
