import Capture
import Foundation
import Locking
import Media
import Testing

/// Peak signal to noise ratio of the luma of two pictures of the same size, in decibels; 100 if they are equal.
func psnr(_ one: VideoFrame, _ other: VideoFrame) -> Double {
    guard one.width == other.width, one.height == other.height else { return 0 }
    var sum = 0.0
    one.withPlanes { first in
        other.withPlanes { second in
            for row in 0..<one.height {
                for column in 0..<one.width {
                    let difference =
                        Double(first.y[row * first.strideY + column]) - Double(second.y[row * second.strideY + column])
                    sum += difference * difference
                }
            }
        }
    }
    guard sum > 0 else { return 100 }
    return 10 * log10(255 * 255 * Double(one.width * one.height) / sum)
}

/// Root mean square of samples.
func level(_ samples: some Collection<Int16>) -> Double {
    (samples.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(max(1, samples.count))).squareRoot()
}

/// Signal to noise ratio of samples against a sine of this frequency fitted to them, in decibels.
func signalToNoise(_ samples: [Int16], frequency: Double, sampleRate: Int) -> Double {
    var (sine, cosine) = (0.0, 0.0)
    for (index, sample) in samples.enumerated() {
        let angle = 2 * Double.pi * frequency * Double(index) / Double(sampleRate)
        sine += Double(sample) * sin(angle)
        cosine += Double(sample) * cos(angle)
    }
    sine *= 2 / Double(samples.count)
    cosine *= 2 / Double(samples.count)
    var noise = 0.0
    for (index, sample) in samples.enumerated() {
        let angle = 2 * Double.pi * frequency * Double(index) / Double(sampleRate)
        let difference = Double(sample) - sine * sin(angle) - cosine * cos(angle)
        noise += difference * difference
    }
    let signal = (sine * sine + cosine * cosine) / 2 * Double(samples.count)
    return 10 * log10(signal / max(noise, 1e-9))
}

/// A picture whose planes a closure writes.
func picture(_ width: Int, _ height: Int, _ value: (_ x: Int, _ y: Int) -> (y: UInt8, u: UInt8, v: UInt8)) throws
    -> VideoFrame
{
    try VideoFrame(width: width, height: height, timestampNanoseconds: 0) { planes throws(MediaError) in
        for row in 0..<height {
            for column in 0..<width {
                let sample = value(column, row)
                planes.y[row * planes.strideY + column] = sample.y
                planes.u[row / 2 * planes.strideUV + column / 2] = sample.u
                planes.v[row / 2 * planes.strideUV + column / 2] = sample.v
            }
        }
    }
}

/// What a source delivers, gathered until there is enough.
final class Gathering<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])
    private let limit: Int
    private let isEnough: AsyncStream<Void>
    private let tell: AsyncStream<Void>.Continuation

    init(_ limit: Int) {
        self.limit = limit
        (isEnough, tell) = AsyncStream.makeStream()
    }

    func add(_ element: Element) {
        let count = elements.withLock { elements in
            elements.append(element)
            return elements.count
        }
        if count >= limit { tell.finish() }
    }

    /// How many there are.
    var count: Int { elements.withLock { $0.count } }

    /// The elements when there are enough, or those there are after ten seconds.
    func result() async -> [Element] {
        let alarm = Task { [tell] in
            try await Task.sleep(for: .seconds(10))
            tell.finish()
        }
        for await _ in isEnough {}
        alarm.cancel()
        return elements.withLock { $0 }
    }
}

/// A folder that is gone with the object.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("media-tests-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A file in it.
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = path + "/" + name
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return file
    }
}

extension [UInt8] {
    /// Little-endian bytes of a number.
    static func number(_ value: Int, bytes: Int) -> [UInt8] {
        (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}

/// A generator whose seed is printed with a failure.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
