import TerminalUI
import Testing

@Suite struct AmountFormatting {
    @Test(arguments: [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (1500, "1.50 kB"), (99_949, "99.9 kB"), (99_950, "100 kB"),
        (999_499, "999 kB"), (999_500, "1.00 MB"), (10_485_760, "10.5 MB"), (Int.max, "9223372 TB"),
        (-1500, "-1.50 kB"),
    ])
    func bytesHaveThreeDigitsAndAUnit(count: Int, text: String) {
        #expect(Amount.bytes(count) == text)
    }

    @Test(arguments: [
        (0.0, "0 bit/s"), (0.25, "0.25 bit/s"), (850_000, "850 kbit/s"), (2_411_000, "2.41 Mbit/s"), (Double.nan, "–"),
        (.infinity, "–"), (1e300, "∞ Gbit/s"),
    ])
    func bitRates(rate: Double, text: String) {
        #expect(Amount.bitRate(perSecond: rate) == text)
    }

    @Test(arguments: [
        (Duration.zero, "0:00"), (.seconds(7), "0:07"), (.seconds(754), "12:34"), (.seconds(3723), "1:02:03"),
        (.seconds(360_000), "100:00:00"), (.seconds(-5), "0:00"),
    ])
    func clocks(duration: Duration, text: String) {
        #expect(Amount.clock(duration) == text)
    }

    @Test(arguments: [
        (Duration.zero, "0 µs"), (.microseconds(850), "850 µs"), (.microseconds(12_345), "12.3 ms"),
        (.milliseconds(1500), "1.50 s"), (.seconds(90), "90 s"),
    ])
    func latencies(duration: Duration, text: String) {
        #expect(Amount.latency(duration) == text)
    }

    @Test(arguments: [
        (0.0, "0 %"), (0.004, "0.4 %"), (0.0995, "10 %"), (0.12, "12 %"), (1.0, "100 %"), (0.0 / 0.0, "–"),
    ])
    func percentages(share: Double, text: String) {
        #expect(Amount.percent(share) == text)
    }

    @Test(arguments: [
        (0.0, "    "), (1.0, "████"), (0.5, "██  "), (0.54, "██▏ "), (0.999, "███▉"), (2.0, "████"), (-1.0, "    "),
    ])
    func barsFillInEighths(share: Double, text: String) {
        #expect(Amount.bar(share, columns: 4) == text)
    }

    @Test func theTimeLeftFollowsTheRateSoFar() {
        #expect(Amount.remaining(done: 25, total: 100, elapsed: .seconds(10)) == .seconds(30))
        #expect(Amount.remaining(done: 0, total: 100, elapsed: .seconds(10)) == nil)
        #expect(Amount.remaining(done: 101, total: 100, elapsed: .seconds(10)) == nil)
    }

    @Test(arguments: [("abc", 3), ("日本", 4), ("e\u{301}", 1), ("👍🏽", 2), ("❤️", 2), ("·", 1), ("", 0)])
    func widthsInColumns(text: String, columns: Int) {
        #expect(TerminalText.width(of: text) == columns)
    }

    @Test func wideCharactersAreNotCutInHalf() {
        #expect(TerminalText.truncated("日本語", to: 4) == "日…")
        #expect(TerminalText.truncated("日本語", to: 6) == "日本語")
        #expect(TerminalText.truncated("日本語", to: 0) == "")
    }
}
