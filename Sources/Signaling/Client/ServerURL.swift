/// A signalling server's address taken apart: `http://host:port/…`, or https, ws, wss.
struct ServerURL: Hashable, Sendable {
    var host: String
    var port: Int
    var isSecure: Bool

    init(_ text: String) throws(SignalingError) {
        func invalid(_ why: String) -> SignalingError {
            SignalingError(
                .invalidURL,
                "“\(Wire.excerpt(text))” is no server's address (\(why)); it looks like http://host:8080",
                isFatal: true
            )
        }
        let parts = text.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count >= 3, parts[1].isEmpty else { throw invalid("no http:// or https://") }
        switch parts[0].lowercased() {
        case "http:", "ws:": isSecure = false
        case "https:", "wss:": isSecure = true
        default: throw invalid("unknown scheme")
        }
        var authority = parts[2].prefix { $0 != "?" && $0 != "#" }
        guard !authority.contains("@") else { throw invalid("names and passwords have no place here") }
        var portText: Substring?
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            let after = authority[authority.index(after: end)...]
            if after.hasPrefix(":") {
                portText = after.dropFirst()
            } else if !after.isEmpty {
                throw invalid("after “]”")
            }
            authority = authority[authority.index(after: authority.startIndex)..<end]
        } else if let colon = authority.lastIndex(of: ":") {
            portText = authority[authority.index(after: colon)...]
            authority = authority[..<colon]
        }
        guard !authority.isEmpty, authority.utf8.count <= 253, !authority.hasPrefix("[") else {
            throw invalid("no host")
        }
        guard authority.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw invalid("a character of the host")
        }
        if let portText {
            guard let port = UInt16(portText), port > 0, !portText.hasPrefix("+") else { throw invalid("no port") }
            self.port = Int(port)
        } else {
            port = isSecure ? 443 : 80
        }
        host = String(authority)
    }

    /// For the Host header.
    var authority: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
}
