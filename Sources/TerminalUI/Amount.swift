/// Figures as a person reads them: three digits, a unit, the same in every locale.
package enum Amount {
    /// Bytes in decimal units: `999 B`, `1.50 kB`, `10.5 MB`.
    package static func bytes(_ count: Int) -> String {
        scaled(Double(count), units: ["B", "kB", "MB", "GB", "TB"])
    }

    /// A rate of bytes: `12.3 MB/s`.
    package static func byteRate(perSecond rate: Double) -> String {
        scaled(rate, units: ["B/s", "kB/s", "MB/s", "GB/s"])
    }

    /// A rate of bits: `850 kbit/s`, `2.41 Mbit/s`.
    package static func bitRate(perSecond rate: Double) -> String {
        scaled(rate, units: ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"])
    }

    /// A span of time as a clock shows it: `0:07`, `12:34`, `1:02:03`, never negative.
    package static func clock(_ duration: Duration) -> String {
        let seconds = max(0, duration.components.seconds)
        let minutes = seconds / 60
        let tail = "\(twoDigits(minutes % 60)):\(twoDigits(seconds % 60))"
        return minutes < 60 ? "\(minutes):\(twoDigits(seconds % 60))" : "\(minutes / 60):\(tail)"
    }

    /// A short time: `850 µs`, `12.3 ms`, `1.50 s`.
    package static func latency(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let value = Double(seconds) + Double(attoseconds) / 1e18
        return value < 1 ? scaled(value * 1e6, units: ["µs", "ms", "s"]) : scaled(value, units: ["s"])
    }

    /// A share from 0 to 1 in percent: `0 %`, `0.4 %`, `12 %`; `–` when it is not a number.
    package static func percent(_ share: Double) -> String {
        guard share.isFinite else { return "–" }
        let value = share * 100
        return (value == 0 || abs(value) >= 9.95 ? fixed(value, digits: 0) : fixed(value, digits: 1)) + " %"
    }

    /// A bar of `columns` characters for a share from 0 to 1, filled in eighths: `██████▌   `.
    package static func bar(_ share: Double, columns: Int) -> String {
        let columns = max(0, columns)
        let bounded = share.isFinite ? min(1, max(0, share)) : 0
        let eighths = Int(bounded * Double(columns * 8))
        let full = eighths / 8
        guard full < columns else { return String(repeating: "█", count: columns) }
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
        let rest = columns - full - (part.isEmpty ? 0 : 1)
        return String(repeating: "█", count: full) + part + String(repeating: " ", count: rest)
    }

    /// The time left at the rate so far; nil while nothing has moved yet or the total is unknown.
    package static func remaining(done: Int, total: Int, elapsed: Duration) -> Duration? {
        guard done > 0, total >= done else { return nil }
        return elapsed * (Double(total - done) / Double(done))
    }

    /// `value` in the first unit that leaves it under 1000, with three significant digits.
    private static func scaled(_ value: Double, units: [String]) -> String {
        guard value.isFinite, let smallest = units.first else { return "–" }
        var (value, unit) = (value, smallest)
        // What would be rounded to 1000 belongs to the next unit already.
        for next in units.dropFirst() where abs(value) >= 999.5 {
            value /= 1000
            unit = next
        }
        let digits =
            unit == smallest && value == value.rounded() || abs(value) >= 99.95 ? 0 : abs(value) >= 9.995 ? 1 : 2
        return fixed(value, digits: digits) + " " + unit
    }

    /// Rounds half away from zero to `digits` decimals, 0 to 2.
    private static func fixed(_ value: Double, digits: Int) -> String {
        let scale = [1.0, 10.0, 100.0][digits]
        let shifted = (abs(value) * scale).rounded()
        guard shifted < 9e15 else { return value < 0 ? "−∞" : "∞" }
        let whole = Int(shifted)
        let sign = value < 0 && whole > 0 ? "-" : ""
        guard digits > 0 else { return sign + String(whole) }
        let fraction = String(whole % Int(scale))
        return sign + "\(whole / Int(scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
    }

    private static func twoDigits(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
}
