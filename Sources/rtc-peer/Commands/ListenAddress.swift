import ArgumentParser

/// `HOST:PORT`, as `127.0.0.1:8080`, `[::1]:0` or `:8080`.
struct ListenAddress: ExpressibleByArgument, CustomStringConvertible {
    var host: String
    var port: Int

    static let standard = ListenAddress(host: "127.0.0.1", port: 8080)

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"), let port = Int(argument[argument.index(after: colon)...]),
            (0...65_535).contains(port)
        else { return nil }
        var host = String(argument[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if host.contains("[") || host.contains("]") { return nil }
        self.init(host: host.isEmpty ? "0.0.0.0" : host, port: port)
    }

    var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    var defaultValueDescription: String { description }
}

/// `WIDTHxHEIGHT@FPS`, the rate being optional.
struct PictureSize: ExpressibleByArgument, CustomStringConvertible {
    var width = 640
    var height = 360
    var framesPerSecond = 30

    init() {}

    init?(argument: String) {
        let parts = argument.lowercased().split(separator: "@", omittingEmptySubsequences: false)
        let size = parts[0].split(separator: "x", omittingEmptySubsequences: false)
        guard parts.count <= 2, size.count == 2, let width = Int(size[0]), let height = Int(size[1]),
            (32...4096).contains(width), (32...4096).contains(height), width % 2 == 0, height % 2 == 0
        else { return nil }
        self.width = width
        self.height = height
        if parts.count == 2 {
            guard let rate = Int(parts[1]), (1...120).contains(rate) else { return nil }
            framesPerSecond = rate
        }
    }

    var description: String { "\(width)x\(height)@\(framesPerSecond)" }
    var defaultValueDescription: String { description }
}
