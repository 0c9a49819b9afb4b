package import SansIO

/// The rate that we ask of a sender by REMB: raised while nothing is lost, lowered to what arrives when much is.
package struct RemoteRateEstimator: Sendable {
    /// Bounds and start of the estimate, bits per second.
    package static let minimumBitRate = 100_000
    package static let maximumBitRate = 5_000_000
    package static let startBitRate = 2_500_000

    private var bitRate = startBitRate
    private var last: (bytes: UInt64, at: Instant)?

    package init() {}

    /// The estimate after another interval.
    ///
    /// - Parameters:
    ///   - bytesReceived: all bytes so far.
    ///   - fractionLost: from 0 to 1, of the last interval.
    ///   - now: when the interval ended.
    /// - Returns: bits per second.
    package mutating func update(bytesReceived: UInt64, fractionLost: Double, at now: Instant) -> Int {
        defer { last = (bytesReceived, now) }
        guard let last, now > last.at else { return bitRate }
        let seconds = Double((now - last.at).wholeNanoseconds) / 1e9
        let received = Double(bytesReceived - min(last.bytes, bytesReceived)) * 8 / seconds
        if fractionLost > BandwidthEstimator.highLoss {
            bitRate = Int(max(received, Double(bitRate) * 0.5) * (1 - 0.5 * fractionLost))
        } else if fractionLost < BandwidthEstimator.lowLoss {
            bitRate = Int(Double(bitRate) * (1 + BandwidthEstimator.raisePerSecond * min(seconds, 1)))
        }
        bitRate = min(max(bitRate, Self.minimumBitRate), Self.maximumBitRate)
        return bitRate
    }
}
