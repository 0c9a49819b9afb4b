/// A call as a microphone hears it: the echo of what the other side says, noise, and what is said here.
///
/// The other side speaks all the time, this side in `doubleTalk`; at `change` the loudspeaker is moved.
public struct EchoScene {
    /// How loud things are and when what happens, in seconds and decibels.
    public struct Plan: Sendable {
        /// How long it is.
        public var seconds = 60.0
        /// When this side speaks.
        public var doubleTalk = 20.0..<35.0
        /// When the way from loudspeaker to microphone becomes another one.
        public var change = 45.0
        /// From a block that is handed over to be played, to the microphone's block with its direct sound.
        public var delayMilliseconds = 60
        /// By how many millionths the loudspeaker's clock is faster than the microphone's.
        public var drift = 0.0
        /// How much weaker than what is played the echo is.
        public var echoLoss = 6.0
        /// Of the speech here at the microphone, while it is spoken.
        public var nearLevel = -26.0
        /// Of the noise at the microphone.
        public var noiseLevel = -66.0

        /// A minute.
        public init() {}
    }

    /// When what happens.
    public let plan: Plan
    /// What is played.
    public let far: [Int16]
    /// What the microphone hears: echo, noise, near speech.
    public let microphone: [Int16]
    /// Of that the speech of this side alone.
    public let near: [Int16]

    /// A scene of two voices and two rooms.
    public init(_ plan: Plan = Plan(), far: [Float], near: [Float], before: Room, after: Room, seed: UInt64 = 1) {
        self.plan = plan
        let count = Int(plan.seconds * 48_000) / 480 * 480
        let played = Self.repeated(far, count).scaled(toLevel: -20)
        let change = min(count, Int(plan.change * 48_000))
        let (one, other) = (before.echo(of: played), after.echo(of: played))
        let loss = Float(-20 - plan.echoLoss)
        let gains = (Self.gain(one, to: Double(loss)), Self.gain(other, to: Double(loss)))
        var random = SceneGenerator(seed: seed)
        let noise = Float(Self.amplitude(plan.noiseLevel))
        let start = min(count, Int(plan.doubleTalk.lowerBound * 48_000))
        let end = min(count, Int(plan.doubleTalk.upperBound * 48_000))
        let spoken = start < end ? Self.repeated(near, end - start).scaled(toLevel: plan.nearLevel) : []
        var heard = [Float](repeating: 0, count: count)
        var alone = [Float](repeating: 0, count: count)
        let delay = plan.delayMilliseconds * 48
        for index in 0..<count {
            // Where the loudspeaker is when the microphone is here.
            let place = Double(index) * (1 + plan.drift / 1e6) - Double(delay)
            if place >= 0, place + 1 < Double(count) {
                let (sound, gain) = index < change ? (one, gains.0) : (other, gains.1)
                let (whole, part) = (Int(place), Float(place - place.rounded(.down)))
                heard[index] = gain * (sound[whole] + part * (sound[whole + 1] - sound[whole]))
            }
            heard[index] += noise * Float(random.normal())
            if index >= start, index < end {
                alone[index] = spoken[index - start]
                heard[index] += alone[index]
            }
        }
        self.far = played.pcm
        microphone = heard.pcm
        self.near = alone.pcm
    }

    /// The number of blocks of 10 ms.
    public var blockCount: Int { far.count / 480 }

    /// A block of what is played.
    public func farBlock(_ index: Int) -> [Int16] { Array(far[(index * 480)..<(index * 480 + 480)]) }

    /// A block of what the microphone hears.
    public func microphoneBlock(_ index: Int) -> [Int16] { Array(microphone[(index * 480)..<(index * 480 + 480)]) }

    private static func repeated(_ sound: [Float], _ count: Int) -> [Float] {
        guard !sound.isEmpty else { return Array(repeating: 0, count: count) }
        var result: [Float] = []
        result.reserveCapacity(count)
        while result.count < count { result += sound.prefix(count - result.count) }
        return result
    }

    private static func gain(_ sound: [Float], to level: Double) -> Float {
        Float(amplitude(level - sound.activeLevel))
    }

    private static func amplitude(_ decibels: Double) -> Double { SceneMath.power(10, decibels / 20) }
}
