/// Which texts may name rooms, and how names of people are cleaned.
package enum RoomName {
    /// Characters of a room's name.
    package static let maxLength = 64
    /// Characters of a person's name.
    package static let maxPersonLength = 64
    /// The room of the page at `/`.
    package static let lobby = "lobby"
    /// Paths that the server uses itself.
    static let reserved: Set<String> = ["ws", "bye", "healthz", "favicon.ico", "robots.txt"]

    /// Whether the text may stand in a path as a room's name.
    package static func isValid(_ name: String) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, bytes.count <= maxLength, isAlphanumeric(first) else { return false }
        return !reserved.contains(name) && bytes.allSatisfy { isAlphanumeric($0) || "-_.~".utf8.contains($0) }
    }

    /// Whether the text is one of the server's own paths, which its error explains.
    package static func isReserved(_ name: String) -> Bool { reserved.contains(name) }

    /// A person's name without control characters, shortened; "Guest" if nothing is left.
    package static func cleaned(_ name: String) -> String {
        let zeroWidthJoiner: Unicode.Scalar = "\u{200D}"  // of emoji
        let kept = name.unicodeScalars.lazy
            .filter { !$0.properties.isControl || $0 == zeroWidthJoiner }
            .drop { $0.properties.isWhitespace }
            .prefix(maxPersonLength)
        let text = String(String.UnicodeScalarView(kept))
        return text.isEmpty ? "Guest" : text
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
