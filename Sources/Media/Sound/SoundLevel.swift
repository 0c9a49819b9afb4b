internal import Glibc

/// How loud sound is.
public enum SoundLevel {
    /// What silence is said to have: RFC 6464 §3 has no lower level.
    public static let silence = -127.0

    /// The sum of the squares of samples, full scale being 1.
    public static func energy(_ samples: [Int16]) -> Double {
        unsafe samples.withUnsafeBufferPointer { unsafe energy($0) }
    }

    static func energy(_ samples: UnsafeBufferPointer<Int16>) -> Double {
        var sum: Int64 = 0
        // At most 2³⁰ each: eight billion samples fit.
        for index in 0..<samples.count {
            let sample = unsafe Int64(samples[index])
            sum &+= sample &* sample
        }
        return Double(sum) / (32_768.0 * 32_768.0)
    }

    /// The level of samples in decibels below full scale: 0 for a full-scale square wave, -127 for silence.
    public static func decibels(_ samples: [Int16]) -> Double {
        decibels(meanSquare: samples.isEmpty ? 0 : energy(samples) / Double(samples.count))
    }

    /// A mean square, full scale being 1, in decibels.
    public static func decibels(meanSquare: Double) -> Double {
        guard meanSquare > 0 else { return silence }
        return min(0, max(silence, 10 * log10(meanSquare)))
    }
}
