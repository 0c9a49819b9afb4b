public import Media

/// A moving test picture: the frame's number and the time of day in a dark band at the top, four colour bars (red, green,
/// blue, yellow), a ball that runs along their lower edge, and in the bottom quarter a binary counter of the frames, 16
/// blocks, most significant first, white for 1.
public final class TestPattern: VideoSource {
    /// Width in pixels.
    public let width: Int
    /// Height in pixels.
    public let height: Int
    /// Pictures a second.
    public let framesPerSecond: Int
    /// `test pattern`.
    public let label = "test pattern"
    private let thread = ThreadSlot()
    private let pool = VideoFramePool()

    /// The bars' Y, U and V (BT.601, limited range), from the left.
    public static let bars: [(y: UInt8, u: UInt8, v: UInt8)] = [
        (82, 90, 240), (145, 54, 34), (41, 240, 110), (210, 16, 146),
    ]
    /// Bits of the counter.
    public static let counterBits = 16

    /// A pattern of any width and height, odd ones too.
    ///
    /// - Throws: `MediaError.invalidArgument` for sizes outside 32 ... 4096 or rates outside 1 ... 120.
    public init(width: Int = 640, height: Int = 360, framesPerSecond: Int = 30) throws(MediaError) {
        guard (32...4096).contains(width), (32...4096).contains(height), (1...120).contains(framesPerSecond)
        else {
            throw MediaError(
                .invalidArgument,
                "test pattern",
                "\(width)x\(height)@\(framesPerSecond): width and height must be in 32 ... 4096, the rate in 1 ... 120"
            )
        }
        self.width = width
        self.height = height
        self.framesPerSecond = framesPerSecond
    }

    /// Starts with frame 0.
    public func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws {
        let new = try ScheduledThread(
            name: "test pattern",
            subject: label,
            intervalNanoseconds: 1_000_000_000 / Int64(framesPerSecond)
        ) { [weak self] index, time in
            guard let self,
                let frame = try? self.frame(index, timestampNanoseconds: time, clock: ClockText.now())
            else { return false }
            deliver(frame)
            return true
        }
        thread.replace(with: new)
    }

    /// Stops.
    public func stop() { thread.stop() }

    /// Picture number `index`; `clock` is drawn behind the number.
    public func frame(
        _ index: Int,
        timestampNanoseconds: Int64,
        clock: String = ""
    ) throws(MediaError) -> VideoFrame {
        try VideoFrame(width: width, height: height, timestampNanoseconds: timestampNanoseconds, pool: pool) {
            planes throws(MediaError) in
            let top = height * 3 / 4
            for row in 0..<height {
                let line = unsafe planes.y + row * planes.strideY
                for bar in 0..<4 where row < top {
                    let from = bar * width / 4
                    unsafe (line + from).update(repeating: Self.bars[bar].y, count: (bar + 1) * width / 4 - from)
                }
                for bit in 0..<Self.counterBits where row >= top {
                    let from = bit * width / Self.counterBits
                    let isOne = index >> (Self.counterBits - 1 - bit) & 1 == 1
                    unsafe (line + from).update(
                        repeating: isOne ? 235 : 16,
                        count: (bit + 1) * width / Self.counterBits - from
                    )
                }
            }
            let chromaWidth = (width + 1) / 2
            for row in 0..<((height + 1) / 2) {
                let u = unsafe planes.u + row * planes.strideUV
                let v = unsafe planes.v + row * planes.strideUV
                for bar in 0..<4 {
                    let from = bar * chromaWidth / 4
                    let count = (bar + 1) * chromaWidth / 4 - from
                    unsafe (u + from).update(repeating: row < top / 2 ? Self.bars[bar].u : 128, count: count)
                    unsafe (v + from).update(repeating: row < top / 2 ? Self.bars[bar].v : 128, count: count)
                }
            }
            drawBall(index, planes: planes, below: top)
            draw("#\(index) \(clock)", planes: planes)
        }
    }

    /// White letters in a dark band, as large as they fit into the picture's width and its top sixth.
    private func draw(_ text: String, planes: borrowing VideoFrame.Planes) {
        let scale = min(height / 6 / (BitmapFont.height + 2), width / max(1, BitmapFont.width(of: text) + 4))
        guard scale > 0 else { return }
        let band = (BitmapFont.height + 2) * scale & ~1
        for row in 0..<band {
            unsafe (planes.y + row * planes.strideY).update(repeating: 16, count: width)
            unsafe (planes.u + row / 2 * planes.strideUV).update(repeating: 128, count: (width + 1) / 2)
            unsafe (planes.v + row / 2 * planes.strideUV).update(repeating: 128, count: (width + 1) / 2)
        }
        let left = (width - BitmapFont.width(of: text) * scale) / 2
        BitmapFont.draw(text) { x, y in
            for row in 0..<scale {
                let start = (y * scale + scale + row) * planes.strideY + left + x * scale
                unsafe (planes.y + start).update(repeating: 235, count: scale)
            }
        }
    }

    /// A white ball that crosses the picture in three seconds and bounces.
    ///
    /// It stays below the bars' sample line.
    private func drawBall(_ index: Int, planes: borrowing VideoFrame.Planes, below top: Int) {
        // No wider than half of the picture, so that it has room to run.
        let radius = max(3, min(height / 24, width / 4))
        let span = width - 2 * radius
        let travelled = index * width / (3 * framesPerSecond)
        let phase = travelled % (2 * span)
        let centreX = radius + (phase < span ? phase : 2 * span - phase)
        let hop = index * 4 * radius / framesPerSecond % (4 * radius)
        let centreY = top - radius - 2 - (hop < 2 * radius ? hop : 4 * radius - hop)
        for row in max(0, centreY - radius)..<min(top, centreY + radius) {
            for column in max(0, centreX - radius)..<min(width, centreX + radius) {
                let (x, y) = (column - centreX, row - centreY)
                guard x * x + y * y < radius * radius else { continue }
                unsafe planes.y[row * planes.strideY + column] = 235
                unsafe planes.u[row / 2 * planes.strideUV + column / 2] = 128
                unsafe planes.v[row / 2 * planes.strideUV + column / 2] = 128
            }
        }
    }

    /// Reads the counter out of a picture of the pattern, of any size.
    public static func readCounter(_ frame: VideoFrame) -> Int {
        (0..<counterBits).reduce(0) { value, bit in
            let sample = frame.sample(x: (2 * bit + 1) * frame.width / (2 * counterBits), y: frame.height * 7 / 8)
            return value << 1 | (sample.y > 125 ? 1 : 0)
        }
    }

    /// Reads the four bars' colours out of a picture of the pattern, of any size.
    public static func readBars(_ frame: VideoFrame) -> [(y: UInt8, u: UInt8, v: UInt8)] {
        (0..<4).map { frame.sample(x: (2 * $0 + 1) * frame.width / 8, y: frame.height * 3 / 8) }
    }
}
