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
struct PictureSize: CustomStringConvertible {
    var width = 640
    var height = 360
    var framesPerSecond = 30

    /// What a side may be; odd ones are fine, the colours of the last pixel being its own then.
    static let sides = 32...4_096
    static let rates = 1...120

    init() {}

    /// - Throws: `ValidationError` with what is wrong and the nearest that works.
    init(parsing text: String) throws {
        let parts = text.lowercased().split(separator: "@", omittingEmptySubsequences: false)
        let size = parts[0].split(separator: "x", omittingEmptySubsequences: false)
        guard parts.count <= 2, size.count == 2, let width = Int(size[0]), let height = Int(size[1]) else {
            throw ValidationError("expected WIDTHxHEIGHT or WIDTHxHEIGHT@FPS in whole numbers, as 1280x720@30")
        }
        self.width = width.clamped(to: Self.sides)
        self.height = height.clamped(to: Self.sides)
        if parts.count == 2 {
            guard let rate = Int(parts[1]) else {
                throw ValidationError("“\(parts[1])” is no number of pictures a second, as 30 in \(width)x\(height)@30")
            }
            framesPerSecond = rate.clamped(to: Self.rates)
            guard rate == framesPerSecond else {
                throw ValidationError("1 to 120 pictures a second can be asked for; the nearest is \(self)")
            }
        }
        guard self.width == width, self.height == height else {
            throw ValidationError("a picture has 32 to 4096 pixels a side; the nearest is \(self.width)x\(self.height)")
        }
    }

    var description: String { "\(width)x\(height)@\(framesPerSecond)" }
}

extension Int {
    fileprivate func clamped(to range: ClosedRange<Int>) -> Int {
        Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
    }
}
