import PeerConnection

/// `codec WxH SECONDS [KBPS]`: libvpx and libopus alone on the frames of `media`, encoded and decoded at the same pace:
/// what of that figure is not this project's.
struct CodecCost {
    let width: Int
    let height: Int
    let seconds: Double
    let bitRate: Int

    init(_ arguments: [String]) {
        let size = (arguments.first ?? "").split(separator: "x").compactMap { Int($0) }
        width = size.first ?? 640
        height = size.last ?? 360
        seconds = PeerBench.number(arguments, 1)
        bitRate = arguments.count > 2 ? PeerBench.integer(arguments, 2) * 1_000 : 800_000
    }

    func run() async throws {
        let pictures = try RecordedFrames(width: width, height: height).frames
        let tone = Tone().block(0, timestampNanoseconds: 0).samples
        let (videoEncoder, videoDecoder) = (VP8Encoder(bitRate: bitRate), try VP8Decoder())
        let (soundEncoder, soundDecoder) = (try OpusEncoder(), try OpusDecoder())
        var byteCount = 0
        let (start, cpu) = (ContinuousClock.now, Meter.cpu())
        // 30 pictures and 50 blocks of sound a second: ten steps of 100 ms hold whole numbers of both.
        for step in 0..<Int(seconds * 10) {
            for index in 0..<3 {
                let number = step * 3 + index
                try await Task.sleep(until: start + .nanoseconds(number * 33_333_333), tolerance: .zero)
                let picture = pictures[number % pictures.count].retimed(Int64(number) * 33_333_333)
                guard let encoded = try videoEncoder.encode(picture) else { continue }
                byteCount += encoded.payload.count
                _ = try videoDecoder.decode(encoded.payload, timestampNanoseconds: 0)
            }
            for _ in 0..<5 { _ = try soundDecoder.decode(try soundEncoder.encode(tone)) }
        }
        Wire.result([
            "codec_cpu_cores": (Meter.cpu() - cpu) / seconds, "codec_video_kbps": Double(byteCount) * 8 / seconds / 1e3,
        ])
    }
}
