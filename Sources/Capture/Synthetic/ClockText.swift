internal import CLinux
internal import Glibc

/// The time of day as a picture shows it.
enum ClockText {
    /// As `13:07:42.125`, in this machine's time zone.
    static func now() -> String {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        var parts = unsafe tm()
        var seconds = time.tv_sec
        unsafe localtime_r(&seconds, &parts)
        let fields = unsafe [Int(parts.tm_hour), Int(parts.tm_min), Int(parts.tm_sec)].map { padded($0, to: 2) }
        return "\(fields.joined(separator: ":")).\(padded(time.tv_nsec / 1_000_000, to: 3))"
    }

    private static func padded(_ value: Int, to digits: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
