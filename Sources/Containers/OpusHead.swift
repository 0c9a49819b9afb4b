/// What a decoder must know of an Opus stream in a file. RFC 7845 §5.1
package struct OpusHead: Hashable, Sendable {
    package var channelCount: Int
    /// Samples at 48 kHz to throw away at the beginning.
    package var preSkip: Int
    package var inputSampleRate: Int

    package init(channelCount: Int, preSkip: Int = 0, inputSampleRate: Int = 48_000) {
        self.channelCount = channelCount
        self.preSkip = preSkip
        self.inputSampleRate = inputSampleRate
    }

    /// Reads the head; nil if it is none, or has more channels than two, which need a mapping of their own.
    package init?(_ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count >= 19, bytes.starts(with: Self.magic), bytes[8] >> 4 == 0, (1...2).contains(bytes[9]),
            bytes[18] == 0
        else { return nil }
        channelCount = Int(bytes[9])
        preSkip = Int(bytes[10]) | Int(bytes[11]) << 8
        inputSampleRate = Int(bytes[12]) | Int(bytes[13]) << 8 | Int(bytes[14]) << 16 | Int(bytes[15]) << 24
    }

    /// Whether these bytes are a head, be it one that is read or not.
    package static func isOne(_ bytes: some Collection<UInt8>) -> Bool { bytes.starts(with: magic) }

    /// What to call Opus with a head that is not read.
    package static func unreadable(_ bytes: [UInt8]) -> String {
        guard bytes.count >= 19, bytes[8] >> 4 == 0 else { return "Opus with a broken head" }
        return "Opus with \(bytes[9]) channels (mapping family \(bytes[18]), neither mono nor stereo)"
    }

    package var bytes: [UInt8] {
        let rate = UInt32(clamping: inputSampleRate)
        let skip = UInt16(clamping: preSkip)
        return Self.magic + [
            1, UInt8(clamping: channelCount), UInt8(skip & 0xFF), UInt8(skip >> 8),
            UInt8(rate & 0xFF), UInt8(rate >> 8 & 0xFF), UInt8(rate >> 16 & 0xFF), UInt8(rate >> 24),
            0, 0,  // no gain
            0,  // mapping family 0: mono or stereo
        ]
    }

    private static let magic = Array("OpusHead".utf8)

    /// Samples at 48 kHz that a packet holds, of its first byte (and second); nil if it is broken. RFC 6716 §3.1
    package static func sampleCount(ofPacket packet: [UInt8]) -> Int? {
        guard let head = packet.first else { return nil }
        let configuration = Int(head >> 3)
        let frame: Int
        switch configuration {
        case 0..<12: frame = [480, 960, 1_920, 2_880][configuration % 4]
        case 12..<16: frame = [480, 960][configuration % 2]
        default: frame = [120, 240, 480, 960][configuration % 4]
        }
        let frames: Int
        switch head & 3 {
        case 0: frames = 1
        case 1, 2: frames = 2
        default:
            guard packet.count >= 2 else { return nil }
            frames = Int(packet[1] & 0x3F)
        }
        let samples = frame * frames
        return (1...5_760).contains(samples) ? samples : nil
    }
}
