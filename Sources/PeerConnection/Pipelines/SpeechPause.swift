internal import Media

/// What of a peer's pause (Opus DTX) is filled with comfort noise, by the clock of its stream.
///
/// A packet of two bytes or less begins one, as libopus' encoder gives it and libwebrtc sends it once; each 400 ms a whole packet
/// refreshes the background. Without such a packet a gap is taken for what it may as well be: a path that is broken.
struct SpeechPause {
    private enum State {
        case sound
        /// Ticks since the last packet.
        case pause(ticks: Int)
    }

    private var state = State.sound
    /// The peer's timestamp up to which there is sound, in a pause.
    private var filled: UInt32 = 0
    /// Blocks that there are too many of, by the peer's clock: so many ticks pass by without one.
    ///
    /// One is usual: the tick came before the packet.
    private var surplus = 0
    /// Ticks since the last packet of two bytes or less; nil before there was any.
    private var sincePause: Int?

    /// Samples of 20 ms at 48 kHz.
    private static let blockSamples = OpusEncoder.samplesPerBlock
    /// Ticks without any packet after which the peer is gone: more than twice the 400 ms between two that refresh.
    private static let patience = 50
    /// Blocks that are made up at once at most, when this side's clock was behind, or passed by, when it was ahead: of more
    /// the mixer has dropped what was too much.
    private static let catchUpLimit = 3

    /// Whether ticks are to be counted: in a pause, and in the sound between two.
    var needsClock: Bool { sincePause != nil }

    /// 20 ms are over.
    ///
    /// - Returns: whether a block is to be made up.
    mutating func tick() -> Bool {
        guard let count = sincePause else { return false }
        sincePause = count < Self.patience ? count + 1 : nil
        guard case .pause(let ticks) = state else { return false }
        guard ticks < Self.patience else {
            state = .sound
            return false
        }
        state = .pause(ticks: ticks + 1)
        guard surplus == 0 else {
            surplus -= 1
            return false
        }
        filled &+= UInt32(Self.blockSamples)
        return true
    }

    /// Blocks of a pause that were not made up before a packet came; nil in sound.
    func leftOut(before timestamp: UInt32) -> Int? {
        guard case .pause = state else { return nil }
        return max(0, min(gap(before: timestamp), Self.catchUpLimit))
    }

    /// A packet was decoded.
    mutating func received(_ timestamp: UInt32, sampleCount: Int, beginsPause: Bool) {
        if case .pause = state { surplus = min(max(0, -gap(before: timestamp)), Self.catchUpLimit) }
        filled = timestamp &+ UInt32(clamping: sampleCount + surplus * Self.blockSamples)
        guard beginsPause else { return state = .sound }
        // The first tick is for the 20 ms after a packet of as many.
        surplus += max(0, sampleCount / Self.blockSamples - 1)
        state = .pause(ticks: 0)
        sincePause = 0
    }

    /// Blocks of the peer's between what is filled and `timestamp`; less than zero where too much is.
    ///
    /// A clock that jumped says nothing.
    private func gap(before timestamp: UInt32) -> Int {
        let gap = Int(Int32(bitPattern: timestamp &- filled)) / Self.blockSamples
        return abs(gap) <= Self.patience ? gap : 0
    }
}
