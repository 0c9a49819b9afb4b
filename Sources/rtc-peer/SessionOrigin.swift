/// What names the session of a description, and stays the same as long as the connection: user name and identifier of the
/// line "o=".
///
/// RFC 8866 §5.2
struct SessionOrigin: Hashable {
    private let words: [Substring]

    /// Nil for a text without the line.
    init?(_ sdp: String) {
        guard let line = sdp.split(whereSeparator: \.isNewline).first(where: { $0.hasPrefix("o=") }) else { return nil }
        words = Array(line.dropFirst(2).split(separator: " ").prefix(2))
    }
}
