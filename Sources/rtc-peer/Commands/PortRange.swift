import ArgumentParser

/// `LOW-HIGH`, as `49152-65535`.
struct PortRange: ExpressibleByArgument, CustomStringConvertible {
    let range: ClosedRange<UInt16>

    init?(argument: String) {
        let parts = argument.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let low = UInt16(parts[0]), let high = UInt16(parts[1]), low > 0, low <= high else {
            return nil
        }
        range = low...high
    }

    var description: String { "\(range.lowerBound)-\(range.upperBound)" }
}
