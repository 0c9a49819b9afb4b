package import Media
package import RTP
internal import SansIO

/// Received packets turned into sound, with guesses for lost ones and comfort noise for what the peer left out.
package final class AudioDecoding {
    private var opus: OpusDecoder?
    private var pause = SpeechPause()

    /// Lost blocks that are made up for at most: after 100 ms of guessing silence is better.
    private static let concealLimit = 5

    package init() {}

    /// Whether ``silence(at:)`` is to be called every 20 ms.
    package var needsClock: Bool { pause.needsClock }

    /// The sound of a packet, after that of what is missing before it.
    package func decode(_ frame: ReceivedFrame) -> [AudioFrame] {
        let time = frame.receiveTime.nanoseconds
        switch frame.codec {
        case .opus: return decodeOpus(frame)
        case .pcmu: return [block(decodeG711(.muLaw, frame.payload), rate: 8_000, channels: 1, time)]
        case .pcma: return [block(decodeG711(.aLaw, frame.payload), rate: 8_000, channels: 1, time)]
        case .vp8, .h264: return []
        }
    }

    /// Comfort noise for 20 ms of a pause of the peer's; nothing if there is none.
    ///
    /// libopus makes it of the background of the last packets: without it a pause would be dead silence, torn by a block of
    /// background whenever the peer sends one.
    package func silence(at nanoseconds: Int64) -> [AudioFrame] {
        guard pause.tick(), let samples = try? opus?.conceal(next: nil) else { return [] }
        return [block(samples, rate: 48_000, channels: 2, nanoseconds)]
    }

    private func decodeG711(_ law: G711, _ payload: [UInt8]) -> [Int16] {
        // What a change of codec leaves of a pause of Opus' would sound beside it.
        pause = SpeechPause()
        return law.decode(payload)
    }

    private func decodeOpus(_ frame: ReceivedFrame) -> [AudioFrame] {
        if opus == nil { opus = try? OpusDecoder(channelCount: 2) }
        guard let opus else { return [] }
        let time = frame.receiveTime.nanoseconds
        var blocks: [AudioFrame] = []
        // In a pause the peer's clock tells what is missing: of packets that say nothing but that it goes on none is missed.
        let leftOut = pause.leftOut(before: frame.rtpTimestamp)
        let missing = leftOut ?? max(0, min(frame.lostBefore, Self.concealLimit))
        for index in 0..<missing {
            // The last lost block is in the redundancy of this packet.
            let isInNext = leftOut == nil && index == missing - 1
            if let samples = try? opus.conceal(next: isInNext ? frame.payload : nil) {
                blocks.append(block(samples, rate: 48_000, channels: 2, time))
            }
        }
        guard let samples = try? opus.decode(frame.payload) else { return blocks }
        pause.received(
            frame.rtpTimestamp,
            sampleCount: samples.count / 2,
            beginsPause: frame.payload.count <= OpusEncoder.largestSilence
        )
        blocks.append(block(samples, rate: 48_000, channels: 2, time))
        return blocks
    }

    private func block(_ samples: [Int16], rate: Int, channels: Int, _ nanoseconds: Int64) -> AudioFrame {
        AudioFrame(samples: samples, sampleRate: rate, channelCount: channels, timestampNanoseconds: nanoseconds)
    }
}
