package import SansIO

/// The bit rate that the path to the remote side carries, raised slowly and lowered fast.
///
/// Takes what there is: transport-wide feedback (loss, delivered rate, growing delay), loss of receiver reports,
/// and the receiver's own estimate (REMB) as an upper bound.
package struct BandwidthEstimator: Sendable {
    package struct Configuration: Hashable, Sendable {
        package var startBitRate = 800_000
        package var minimumBitRate = 60_000
        package var maximumBitRate = 2_500_000
        package init() {}
    }

    package var configuration: Configuration
    /// Bits per second, between the configured bounds.
    package private(set) var targetBitRate: Int
    /// Bits per second that arrived lately, of transport-wide feedback.
    package private(set) var deliveredBitRate: Int?
    /// Delay above the least seen lately: what stands in the path's queues.
    package private(set) var queueingDelay: Duration = .zero

    /// Loss of the last window, from 0 to 1.
    package private(set) var recentLoss = 0.0

    private var remoteLimit: (bitRate: Int, at: Instant)?
    private var lastChange: Instant?
    private var lastDecrease: Instant?
    // The running window of loss.
    private var windowStart: Instant?
    private var windowReceived = 0
    private var windowLost = 0
    private var windowBytes = 0
    private var windowFirstArrival: Instant?
    private var windowLastArrival: Instant?
    /// The least transit times of this and of the last period, to forget slowly.
    private var leastTransit: (current: Duration?, previous: Duration?, since: Instant?) = (nil, nil, nil)
    private var usesTransportFeedback = false

    /// Loss above which the rate is lowered, and below which it is raised.
    package static let highLoss = 0.10
    package static let lowLoss = 0.02
    /// Raise per second.
    package static let raisePerSecond = 0.08
    /// Standing delay above which the rate is lowered, and above which it is held.
    package static let highDelay = Duration.milliseconds(100)
    package static let holdDelay = Duration.milliseconds(50)
    private static let windowLength = Duration.milliseconds(250)
    private static let fewestPackets = 10
    private static let longestWindow = Duration.seconds(1)
    private static let decreaseInterval = Duration.milliseconds(300)
    private static let transitPeriod = Duration.seconds(10)
    private static let remoteLimitLifetime = Duration.seconds(10)

    package init(configuration: Configuration = Configuration()) {
        self.configuration = configuration
        targetBitRate = configuration.startBitRate
    }

    /// Whether the path shows loss or standing queues.
    package var isCongested: Bool { recentLoss >= Self.lowLoss || queueingDelay >= Self.holdDelay }

    /// Takes in what a transport-wide feedback message said.
    package mutating func receive(_ summary: TransportFeedbackSummary, at now: Instant) {
        usesTransportFeedback = true
        windowReceived += summary.receivedCount
        windowLost += summary.lostCount
        windowBytes += summary.receivedByteCount
        if let transit = summary.leastTransit { note(transit: transit, at: now) }
        if let arrival = summary.newestArrival {
            windowFirstArrival = windowFirstArrival ?? arrival
            windowLastArrival = arrival
        }
        closeWindow(at: now)
    }

    /// Takes in the loss of a receiver report, from 0 to 1; counts only without transport-wide feedback.
    package mutating func receive(fractionLost: Double, at now: Instant) {
        guard !usesTransportFeedback else { return }
        adapt(loss: fractionLost, at: now)
    }

    /// Takes in the receiver's own estimate.
    package mutating func receive(remoteEstimate bitRate: Int, at now: Instant) {
        remoteLimit = (max(bitRate, 0), now)
        set(targetBitRate, at: now)
    }

    private mutating func closeWindow(at now: Instant) {
        guard let start = windowStart else {
            windowStart = now
            return
        }
        let length = now - start
        guard length >= Self.windowLength else { return }
        let count = windowReceived + windowLost
        guard count >= Self.fewestPackets || length >= Self.longestWindow else { return }
        let seconds = Double(length.wholeNanoseconds) / 1e9
        deliveredBitRate = Int(Double(windowBytes * 8) / seconds)
        let loss = count > 0 ? Double(max(windowLost, 0)) / Double(count) : 0
        windowStart = now
        windowReceived = 0
        windowLost = 0
        windowBytes = 0
        adapt(loss: loss, at: now)
    }

    private mutating func adapt(loss: Double, at now: Instant) {
        recentLoss = loss
        let elapsed = lastChange.map { Double((now - $0).wholeNanoseconds) / 1e9 } ?? 0.25
        lastChange = now
        let mayDecrease = lastDecrease.map { now - $0 >= Self.decreaseInterval } ?? true
        if queueingDelay > Self.highDelay {
            guard mayDecrease else { return }
            lastDecrease = now
            let delivered = Double(deliveredBitRate ?? targetBitRate)
            set(Int(min(Double(targetBitRate), delivered) * 0.85), at: now)
        } else if loss > Self.highLoss {
            guard mayDecrease else { return }
            lastDecrease = now
            set(Int(Double(targetBitRate) * (1 - 0.5 * loss)), at: now)
        } else if loss < Self.lowLoss, queueingDelay < Self.holdDelay {
            let raised = Double(targetBitRate) * (1 + Self.raisePerSecond * min(elapsed, 1))
            // A source that sends little proves nothing about more than twice its rate.
            let proven = deliveredBitRate.map { Double($0) * 2 + 100_000 } ?? .infinity
            set(Int(min(raised, max(proven, Double(targetBitRate)))), at: now)
        } else {
            set(targetBitRate, at: now)
        }
    }

    private mutating func set(_ bitRate: Int, at now: Instant) {
        var limit = configuration.maximumBitRate
        if let remoteLimit, now - remoteLimit.at < Self.remoteLimitLifetime { limit = min(limit, remoteLimit.bitRate) }
        targetBitRate = max(min(bitRate, limit), configuration.minimumBitRate)
    }

    private mutating func note(transit: Duration, at now: Instant) {
        if leastTransit.since.map({ now - $0 >= Self.transitPeriod }) ?? true {
            leastTransit = (nil, leastTransit.current, now)
        }
        let current = min(leastTransit.current ?? transit, transit)
        leastTransit.current = current
        let least = min(current, leastTransit.previous ?? current)
        queueingDelay = (queueingDelay + (transit - least)) / 2
    }
}
