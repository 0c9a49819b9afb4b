internal import Glibc

/// The way from a loudspeaker to a microphone: what of it comes when.
public struct Room {
    /// The impulse response at 48 kHz.
    public let response: [Float]

    /// A room of walls that reflect evenly: the direct sound, then a tail that decays by 60 dB in `reverberation` seconds.
    ///
    /// - Parameters:
    ///   - delaySamples: until the direct sound comes.
    ///   - reverberation: in seconds.
    ///   - directness: how much more of the energy comes directly than by the walls, in decibels: more than 0 where the
    ///     microphone is near the loudspeaker.
    ///   - tail: how much of the tail there is, in seconds.
    ///   - seed: another one is another room.
    public init(delaySamples: Int, reverberation: Double, directness: Double, tail: Double, seed: UInt64) {
        var random = SceneGenerator(seed: seed)
        let count = Int(tail * 48_000)
        var response = [Float](repeating: 0, count: delaySamples + count)
        // Of samples that decay like this the energy is a geometric series.
        let sum = 48_000 * reverberation / 13.8
        let gain = SceneMath.power(10, -directness / 20) / sum.squareRoot()
        for index in 1..<count {
            let time = Double(index) / 48_000
            response[delaySamples + index] = Float(random.normal() * gain * exp(-6.9 * time / reverberation))
        }
        response[delaySamples] = 1
        self.response = response
    }

    /// A room with the direct sound and a few reflections, which costs little to compute.
    public init(delaySamples: Int, reflections: Int, seed: UInt64) {
        var random = SceneGenerator(seed: seed)
        var response = [Float](repeating: 0, count: delaySamples + 2_400)
        response[delaySamples] = 1
        for index in 1...max(1, reflections) {
            response[delaySamples + Int(random.uniform(48...2_399))] +=
                Float(random.normal() * 0.4 / Double(index).squareRoot())
        }
        self.response = response
    }

    /// The sound as the microphone hears it from a loudspeaker that is not quite straight.
    public func echo(of played: [Float]) -> [Float] {
        let driven = played.map { sample -> Float in tanhf(sample) + 0.02 * sample * sample }
        let taps = response.indices.filter { response[$0] != 0 }
        return taps.count <= 128 ? directly(driven, taps) : Spectrum.convolve(driven, response)
    }

    private func directly(_ sound: [Float], _ taps: [Int]) -> [Float] {
        var result = [Float](repeating: 0, count: sound.count)
        result.withUnsafeMutableBufferPointer { result in
            sound.withUnsafeBufferPointer { sound in
                for tap in taps {
                    let gain = response[tap]
                    for index in tap..<max(tap, sound.count) { result[index] += gain * sound[index - tap] }
                }
            }
        }
        return result
    }
}

/// Fourier transforms for long convolutions.
enum Spectrum {
    static func convolve(_ sound: [Float], _ response: [Float]) -> [Float] {
        var size = 2
        while size < 4 * response.count { size *= 2 }
        let step = size - response.count + 1
        var filterReal = response + Array(repeating: 0, count: size - response.count)
        var filterImaginary = [Float](repeating: 0, count: size)
        transform(&filterReal, &filterImaginary)
        var result = [Float](repeating: 0, count: sound.count)
        for start in stride(from: 0, to: sound.count, by: step) {
            var real = Array(sound[start..<min(sound.count, start + step)])
            real += repeatElement(0, count: size - real.count)
            var imaginary = [Float](repeating: 0, count: size)
            transform(&real, &imaginary)
            for index in 0..<size {
                // Conjugated: a transform forward then is one back.
                let product = real[index] * filterReal[index] - imaginary[index] * filterImaginary[index]
                imaginary[index] = -(real[index] * filterImaginary[index] + imaginary[index] * filterReal[index])
                real[index] = product
            }
            transform(&real, &imaginary)
            for index in 0..<min(size, sound.count - start) { result[start + index] += real[index] / Float(size) }
        }
        return result
    }

    /// In place, of a power of two.
    private static func transform(_ real: inout [Float], _ imaginary: inout [Float]) {
        let count = real.count
        var target = 0
        for index in 1..<count {
            var bit = count >> 1
            while target & bit != 0 {
                target ^= bit
                bit >>= 1
            }
            target |= bit
            if index < target {
                real.swapAt(index, target)
                imaginary.swapAt(index, target)
            }
        }
        var length = 2
        while length <= count {
            let half = length / 2
            let turns = (0..<half).map { number -> (Float, Float) in
                let angle = -2 * Double.pi * Double(number) / Double(length)
                return (Float(cos(angle)), Float(sin(angle)))
            }
            for start in stride(from: 0, to: count, by: length) {
                for number in 0..<half {
                    let (one, other) = (start + number, start + number + half)
                    let turn = turns[number]
                    let r = real[other] * turn.0 - imaginary[other] * turn.1
                    let i = real[other] * turn.1 + imaginary[other] * turn.0
                    (real[other], imaginary[other]) = (real[one] - r, imaginary[one] - i)
                    (real[one], imaginary[one]) = (real[one] + r, imaginary[one] + i)
                }
            }
            length *= 2
        }
    }
}
