internal import Glibc

enum SceneMath {
    static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }
    static func decibels(_ ratio: Double) -> Double { 10 * log10(max(1e-13, ratio)) }
}

/// How much of the echo of a scene is gone from what a canceller made of it, and how much of the speech is left.
public struct EchoScore: Sendable {
    /// Echo return loss enhancement while only the other side speaks, from 10 s on until this side does, in dB.
    public let enhancement: Double
    /// The same in the last five seconds before the end, after the loudspeaker was moved.
    public let enhancementAfterChange: Double
    /// Seconds until the enhancement of half a second first is 20 dB; nil if it never is.
    public let convergence: Double?
    /// The same after the loudspeaker was moved.
    public let reconvergence: Double?
    /// How much the level of the near speech is changed while both speak: median of blocks of 20 ms in which it is loud.
    public let nearLevelChange: Double
    /// The share of those blocks that are weakened by more than 10 dB.
    public let nearBlocksLost: Double
    /// The correlation of what comes out with the near speech, 0 to 1, while both speak.
    public let nearCorrelation: Double
    /// What comes out against the near speech in it, in dB: everything else is echo, noise and distortion.
    public let nearToRest: Double

    /// - Parameters:
    ///   - scene: what was heard.
    ///   - output: what was made of the scene's microphone, block by block.
    ///   - settling: seconds from the begin that are not counted into the enhancement.
    public init(_ scene: EchoScene, output: [Int16], settling: Double = 10) {
        let plan = scene.plan
        let output = Array(output.prefix(scene.microphone.count))
        enhancement = Self.enhancement(scene, output, settling..<plan.doubleTalk.lowerBound)
        enhancementAfterChange = Self.enhancement(scene, output, max(plan.change, plan.seconds - 5)..<plan.seconds)
        convergence = Self.convergence(scene, output, 0..<plan.doubleTalk.lowerBound)
        reconvergence = Self.convergence(scene, output, plan.change..<plan.seconds)
        let speech = Self.speech(scene, output)
        (nearLevelChange, nearBlocksLost) = (speech.levelChange, speech.lost)
        (nearCorrelation, nearToRest) = (speech.correlation, speech.toRest)
    }

    /// How much weaker the output is than what the microphone heard, in dB, while the echo is loud.
    public static func enhancement(_ scene: EchoScene, _ output: [Int16], _ seconds: Range<Double>) -> Double {
        var (heard, left) = (0.0, 0.0)
        for block in blocks(seconds, limit: output.count) {
            let energy = self.energy(scene.microphone[block])
            guard energy > loud else { continue }
            heard += energy
            left += self.energy(output[block])
        }
        return heard > 0 ? SceneMath.decibels(heard / max(left, 1)) : 0
    }

    private static func convergence(_ scene: EchoScene, _ output: [Int16], _ seconds: Range<Double>) -> Double? {
        var start = seconds.lowerBound
        while start + 0.5 <= seconds.upperBound {
            if enhancement(scene, output, start..<(start + 0.5)) >= 20 { return start - seconds.lowerBound }
            start += 0.1
        }
        return nil
    }

    private static func speech(
        _ scene: EchoScene,
        _ output: [Int16]
    ) -> (levelChange: Double, lost: Double, correlation: Double, toRest: Double) {
        let range = Int(scene.plan.doubleTalk.lowerBound * 48_000)..<Int(scene.plan.doubleTalk.upperBound * 48_000)
        guard range.upperBound <= output.count, !range.isEmpty else { return (0, 0, 0, 0) }
        // Filter banks delay: up to 20 ms are looked for.
        let likeness = (0...960).map { correlation(scene.near, output, range, $0, step: 7) }
        let lag = likeness.indices.max { likeness[$0] < likeness[$1] } ?? 0
        var changes: [Double] = []
        for start in stride(from: range.lowerBound, to: range.upperBound - 960 - lag, by: 960) {
            let before = energy(scene.near[start..<(start + 960)])
            guard before > 2 * loud else { continue }
            changes.append(SceneMath.decibels(energy(output[(start + lag)..<(start + lag + 960)]) / before))
        }
        changes.sort()
        guard !changes.isEmpty else { return (0, 0, 0, 0) }
        let match = correlation(scene.near, output, range, lag, step: 1)
        return (
            changes[changes.count / 2], Double(changes.count { $0 < -10 }) / Double(changes.count), match,
            SceneMath.decibels(match * match / max(1e-9, 1 - match * match))
        )
    }

    /// The normalised correlation of speech with what comes out `lag` samples later.
    private static func correlation(
        _ near: [Int16],
        _ output: [Int16],
        _ range: Range<Int>,
        _ lag: Int,
        step: Int
    ) -> Double {
        var (product, one, other) = (0.0, 1e-9, 1e-9)
        var index = range.lowerBound
        near.withUnsafeBufferPointer { near in
            output.withUnsafeBufferPointer { output in
                while index + lag < range.upperBound {
                    let (before, after) = (Double(near[index]), Double(output[index + lag]))
                    product += before * after
                    one += before * before
                    other += after * after
                    index += step
                }
            }
        }
        return product / (one * other).squareRoot()
    }

    /// Blocks of 10 ms.
    private static func blocks(_ seconds: Range<Double>, limit: Int) -> [Range<Int>] {
        let end = min(limit, Int(seconds.upperBound * 48_000))
        return stride(from: Int(seconds.lowerBound * 48_000), to: max(0, end - 479), by: 480).map { $0..<($0 + 480) }
    }

    private static func energy(_ samples: ArraySlice<Int16>) -> Double {
        samples.reduce(0.0) { $0 + Double($1) * Double($1) }
    }

    /// The energy of 10 ms at -45 dBFS.
    private static let loud = 480 * 184.0 * 184.0
}
