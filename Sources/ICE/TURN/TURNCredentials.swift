/// Who a client is to its TURN server (RFC 8489 §9.2).
package struct TURNCredentials: Hashable, Sendable {
    package var username: String
    package var password: String

    /// Takes text that is already prepared by the OpaqueString profile (RFC 8265), as ASCII is.
    package init(username: String, password: String) {
        self.username = username
        self.password = password
    }

    /// Until when a user name is good that begins with a time, as `1735689600:anna`; nil for others.
    ///
    /// In seconds since 1970. draft-uberti-behave-turn-rest-00 §2.2
    package static func expiry(ofUsername username: String) -> Int64? {
        let digits = username.prefix { $0 != ":" }
        // Of this millennium: telephone numbers and other numeric names seldom look so.
        guard digits.utf8.count == 10, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), digits.first != "0"
        else { return nil }
        return Int64(digits)
    }
}
