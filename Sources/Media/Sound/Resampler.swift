internal import CSpeexDSP
internal import Locking

/// Turns sound of one rate into another, and keeps its place between blocks.
///
/// By speexdsp's band-limited interpolation: what the lower rate cannot hold is gone, what both hold stays as it is. Sound
/// comes out 40 samples of the lower rate later: 0.8 ms with 48 kHz, 5 ms with 8 kHz. A copy shares its place with the one
/// that it was made of: use one of the two.
public struct Resampler: Sendable {
    /// Samples a second that come in.
    public let inputRate: Int
    /// Samples a second that go out.
    public let outputRate: Int
    /// Channels.
    public let channelCount: Int
    /// Nil where nothing is to be done, or nothing can be.
    private let filter: Filter?

    /// A resampler between two rates, 4 000 to 384 000; others count as the nearest of these.
    public init(inputRate: Int, outputRate: Int, channelCount: Int) {
        self.inputRate = max(1, inputRate)
        self.outputRate = max(1, outputRate)
        self.channelCount = max(1, channelCount)
        filter =
            inputRate == outputRate
            ? nil : Filter(inputRate: inputRate, outputRate: outputRate, channelCount: self.channelCount)
    }

    /// The block at the other rate; empty if there is no memory for the filter, or it has more than 256 channels.
    public mutating func process(_ samples: [Int16]) -> [Int16] {
        guard inputRate != outputRate else { return samples }
        return filter?.process(samples) ?? []
    }
}

/// speexdsp's resampler.
@safe private final class Filter: Sendable {
    private let inputRate: Int
    private let outputRate: Int
    private let channelCount: Int
    /// Used under the lock alone; freed in `deinit`.
    nonisolated(unsafe) private let state: OpaquePointer  // SpeexResamplerState *
    private let lock = Mutex(())

    /// A filter as long as 80 samples of the lower rate, more than 80 dB less of what must go: 10 to 20 µs for 10 ms of sound,
    /// 40 to 90 between 44 100 and 48 000.
    private static let quality: Int32 = 5
    private static let rates = 4_000...384_000
    private static let channelLimit = 256

    init?(inputRate: Int, outputRate: Int, channelCount: Int) {
        func near(_ rate: Int) -> Int { min(max(rate, Self.rates.lowerBound), Self.rates.upperBound) }
        (self.inputRate, self.outputRate, self.channelCount) = (near(inputRate), near(outputRate), channelCount)
        guard channelCount <= Self.channelLimit else { return nil }
        var status: Int32 = 0
        let state = unsafe speex_resampler_init(
            UInt32(channelCount),
            UInt32(near(inputRate)),
            UInt32(near(outputRate)),
            Self.quality,
            &status
        )
        guard let state = unsafe state else { return nil }
        unsafe self.state = state
    }

    deinit { unsafe speex_resampler_destroy(state) }

    func process(_ samples: [Int16]) -> [Int16] {
        let count = samples.count / channelCount
        guard count > 0 else { return [] }
        // More than come of it: the library stops where there is no room.
        let room = count * outputRate / inputRate + 2
        return lock.withLock { _ in
            unsafe [Int16](unsafeUninitializedCapacity: room * channelCount) { target, made in
                unsafe samples.withUnsafeBufferPointer { source in
                    unsafe made = channelCount * convert(source, count, to: target, room)
                }
            }
        }
    }

    /// - Returns: samples of each channel that came out.
    private func convert(
        _ source: UnsafeBufferPointer<Int16>,
        _ count: Int,
        to target: UnsafeMutableBufferPointer<Int16>,
        _ room: Int
    ) -> Int {
        guard let input = source.baseAddress, let output = target.baseAddress else { return 0 }
        var (taken, made) = (0, 0)
        while taken < count, made < room {
            var (inputs, outputs) = (UInt32(clamping: count - taken), UInt32(clamping: room - made))
            let status = unsafe speex_resampler_process_interleaved_int(
                state,
                input + taken * channelCount,
                &inputs,
                output + made * channelCount,
                &outputs
            )
            guard status == 0, inputs > 0 || outputs > 0 else { break }
            taken += Int(inputs)
            made += Int(outputs)
        }
        return made
    }
}
