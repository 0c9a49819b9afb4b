import STUN
package import SansIO

/// What server and operator know, and from which every user's password follows.
///
/// The user name is `EXPIRY:NAME`, the expiry in seconds of Unix time; the password is the Base64 of HMAC-SHA1 over it. So
/// whoever knows the secret issues credentials, and the server keeps no list of users. coturn calls this
/// `use-auth-secret`.
///
/// draft-uberti-behave-turn-rest-00 §2.2
package struct TURNSharedSecret: Sendable {
    private let key: STUNKey

    package init(_ text: some StringProtocol) { key = STUNKey(password: text) }

    /// Draws a secret of 192 bits.
    package static func drawn(from random: RandomSource) -> TURNSharedSecret {
        TURNSharedSecret(random.iceCharacters(32))
    }

    /// What a user presents.
    package struct Credentials: Hashable, Sendable {
        package let username: String
        package let password: String
    }

    /// Credentials until a time.
    ///
    /// - Parameters:
    ///   - name: for whom; quotas count by it.
    ///   - expiry: seconds of Unix time.
    /// - Returns: user name and password.
    package func credentials(for name: String, expiry: Int64) -> Credentials {
        let username = "\(expiry):\(name)"
        return Credentials(username: username, password: password(of: username))
    }

    /// The password of a user name as a whole.
    func password(of username: String) -> String { Base64.text(key.authenticationCode(of: Array(username.utf8))) }

    /// The expiry and the name in a user name; nil for one of another form.
    static func parts(of username: String) -> (expiry: Int64, name: String)? {
        guard let colon = username.firstIndex(of: ":") else { return nil }
        let digits = username[..<colon]
        guard digits.utf8.count <= 18, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let expiry = Int64(digits)
        else { return nil }
        return (expiry, String(username[username.index(after: colon)...]))
    }
}

/// Bytes as text of 64 characters, padded (RFC 4648 §4).
private enum Base64 {
    static func text(_ bytes: [UInt8]) -> String {
        var characters: [UInt8] = []
        var index = 0
        while index < bytes.count {
            let count = min(3, bytes.count - index)
            var group: UInt32 = 0
            for place in 0..<3 { group = group << 8 | (place < count ? UInt32(bytes[index + place]) : 0) }
            for place in 0..<4 {
                characters.append(place <= count ? alphabet[Int(group >> UInt32(18 - 6 * place) & 63)] : 0x3D)
            }
            index += 3
        }
        return String(decoding: characters, as: UTF8.self)
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
}
