internal import COpus

/// Encodes sound to Opus in real time, by libopus.
///
/// Belongs to one thread at a time.
@safe public final class OpusEncoder {
    private let encoder: OpaquePointer  // OpusEncoder *
    /// Channels, 1 or 2.
    public let channelCount: Int
    private var packet = [UInt8](repeating: 0, count: 1_275 * 3)
    private var hasDTX = false

    /// Samples in each channel of one block: 20 ms at 48 kHz.
    public static let samplesPerBlock = 960

    /// An encoder for blocks of 20 ms at 48 kHz.
    ///
    /// `complexity`: 0 ... 10; 9 costs twice the CPU of 5.
    public init(channelCount: Int = 1, bitRate: Int = 32_000, complexity: Int = 5) throws(MediaError) {
        var status: Int32 = 0
        guard channelCount == 1 || channelCount == 2,
            let encoder = unsafe opus_encoder_create(48_000, Int32(channelCount), OPUS_APPLICATION_VOIP, &status)
        else { throw MediaError(.codec, "Opus encoder", "cannot start with \(channelCount) channels: error \(status)") }
        unsafe self.encoder = encoder
        self.channelCount = channelCount
        _ = unsafe copus_opus_encoder_ctl_set(encoder, OPUS_SET_INBAND_FEC_REQUEST, 1)
        _ = unsafe copus_opus_encoder_ctl_set(encoder, OPUS_SET_COMPLEXITY_REQUEST, Int32(min(max(complexity, 0), 10)))
        setBitRate(bitRate)
    }

    deinit { unsafe opus_encoder_destroy(encoder) }

    /// Changes the bits a second, 6 000 to 510 000.
    public func setBitRate(_ bitsPerSecond: Int) {
        _ = unsafe copus_opus_encoder_ctl_set(
            encoder,
            OPUS_SET_BITRATE_REQUEST,
            Int32(min(max(bitsPerSecond, 6_000), 510_000))
        )
    }

    /// Tells how many packets get lost, in per cent: more is spent on redundancy.
    public func setExpectedLoss(percent: Int) {
        _ = unsafe copus_opus_encoder_ctl_set(
            encoder,
            OPUS_SET_PACKET_LOSS_PERC_REQUEST,
            Int32(min(max(percent, 0), 100))
        )
    }

    /// Whether silence is left out: of a pause, only a block in each 400 ms is to be sent. RFC 7587 §3.1.3
    public var discontinuousTransmission: Bool {
        get { hasDTX }
        set {
            guard newValue != hasDTX else { return }
            let status = unsafe copus_opus_encoder_ctl_set(encoder, OPUS_SET_DTX_REQUEST, newValue ? 1 : 0)
            if status == OPUS_OK { hasDTX = newValue }
        }
    }

    /// Whether a packet of this encoder says nothing but that silence goes on, and need not be sent.
    ///
    /// libopus: "if the return value is 2 bytes or less, then the packet does not need to be transmitted (DTX)".
    public func isLeftOut(_ packet: [UInt8]) -> Bool { hasDTX && packet.count <= Self.largestSilence }

    /// Bytes of the largest packet that says nothing but that there is silence.
    package static let largestSilence = 2

    /// Encodes 20 ms: `samplesPerBlock × channelCount` samples at 48 kHz.
    public func encode(_ samples: [Int16]) throws(MediaError) -> [UInt8] {
        guard samples.count == Self.samplesPerBlock * channelCount else {
            throw MediaError(
                .invalidArgument,
                "Opus encoder",
                "\(samples.count) samples instead of \(Self.samplesPerBlock * channelCount)"
            )
        }
        let count = unsafe opus_encode(encoder, samples, Int32(Self.samplesPerBlock), &packet, Int32(packet.count))
        guard count > 0 else { throw MediaError(.codec, "Opus encoder", "error \(count)") }
        return Array(packet[..<Int(count)])
    }
}

/// Decodes Opus, by libopus.
///
/// Packets may be hostile. Belongs to one thread at a time.
@safe public final class OpusDecoder {
    private let decoder: OpaquePointer  // OpusDecoder *
    /// Channels of the sound that comes out, 1 or 2.
    public let channelCount: Int
    private var samples: [Int16]

    /// A packet holds at most 120 ms.
    private static let maximumSamples = 5_760

    /// A decoder to 48 kHz.
    public init(channelCount: Int = 2) throws(MediaError) {
        var status: Int32 = 0
        guard channelCount == 1 || channelCount == 2,
            let decoder = unsafe opus_decoder_create(48_000, Int32(channelCount), &status)
        else { throw MediaError(.codec, "Opus decoder", "cannot start with \(channelCount) channels: error \(status)") }
        unsafe self.decoder = decoder
        self.channelCount = channelCount
        samples = Array(repeating: 0, count: Self.maximumSamples * channelCount)
    }

    deinit { unsafe opus_decoder_destroy(decoder) }

    /// Decodes one packet to interleaved samples.
    ///
    /// - Throws: `MediaError.malformed` for a broken packet.
    public func decode(_ packet: [UInt8]) throws(MediaError) -> [Int16] {
        guard !packet.isEmpty, packet.count <= 65_535 else {
            throw MediaError(.malformed, "Opus decoder", "a packet of \(packet.count) bytes")
        }
        let count = unsafe opus_decode(decoder, packet, Int32(packet.count), &samples, Int32(Self.maximumSamples), 0)
        guard count > 0 else { throw MediaError(.malformed, "Opus decoder", "error \(count)") }
        return Array(samples[..<(Int(count) * channelCount)])
    }

    /// Makes up for a lost block: from the redundancy in the next packet if it is there, else by guessing.
    ///
    /// `next`: the packet after the loss; nil guesses.
    public func conceal(next: [UInt8]?, sampleCount: Int = OpusEncoder.samplesPerBlock) throws(MediaError) -> [Int16] {
        let length = Int32(min(max(sampleCount, 120), Self.maximumSamples))
        let count =
            unsafe next.map { unsafe opus_decode(decoder, $0, Int32($0.count), &samples, length, 1) }
            ?? opus_decode(decoder, nil, 0, &samples, length, 0)
        guard count > 0 else { throw MediaError(.malformed, "Opus decoder", "error \(count)") }
        return Array(samples[..<(Int(count) * channelCount)])
    }
}
