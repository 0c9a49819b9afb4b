package import SansIO

/// The short-term credentials of one generation of one agent.
///
/// RFC 8445 §5.3, RFC 8839 §5.4
package struct ICECredentials: Hashable, Sendable {
    package var usernameFragment: String
    package var password: String

    package init(usernameFragment: String, password: String) {
        self.usernameFragment = usernameFragment
        self.password = password
    }

    /// Draws new credentials.
    ///
    /// RFC 8445 §5.3 wants 24 random bits in the fragment (here 48) and 128 in the password (here 144).
    package init(random: RandomSource) {
        usernameFragment = random.iceCharacters(8)
        password = random.iceCharacters(24)
    }
}
