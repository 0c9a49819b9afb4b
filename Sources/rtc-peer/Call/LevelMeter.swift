import Locking
import PeerConnection
import TerminalUI

/// How loud this side and the others are, as bars for a status line.
final class LevelMeter: Sendable {
    /// Levels of a span of time, as roots of mean squares, full scale being 1; nil for no sound at all.
    struct Levels: Equatable, Sendable {
        var sent: Double?
        var received: Double?
        /// Whether somebody speaks here; nil where nobody looks.
        var hasVoice: Bool?

        init(sent: Double?, received: Double?, hasVoice: Bool?) {
            self.sent = sent
            self.received = received
            self.hasVoice = hasVoice
        }

        /// The levels between two reports of a connection.
        init(_ now: RTCStatsReport, before: RTCStatsReport?) {
            if let source = now.audioSources.first {
                let old = before?.audioSources.first { $0.mid == source.mid }
                sent = Self.level(
                    source.totalAudioEnergy - (old?.totalAudioEnergy ?? 0),
                    source.totalSamplesDuration - (old?.totalSamplesDuration ?? 0)
                )
                hasVoice = source.voiceActivityFlag
            }
            for stream in now.inboundRTP where stream.kind == .audio {
                let old = before?.inboundRTP.first { $0.ssrc == stream.ssrc }
                let level = Self.level(
                    stream.totalAudioEnergy - (old?.totalAudioEnergy ?? 0),
                    stream.totalSamplesDuration - (old?.totalSamplesDuration ?? 0)
                )
                if let level { received = max(received ?? 0, level) }
            }
        }

        /// The root of the mean square; nil for no time at all.
        static func level(_ energy: Double, _ duration: Double) -> Double? {
            duration > 0 ? (max(0, energy) / duration).squareRoot() : nil
        }
    }

    /// What a bar is empty at, in decibels below full scale.
    private static let lowest = 60.0
    private static let columns = 6

    private let segments = Mutex<[String]>([])

    /// The last other parts of the line, so that the bars can be drawn more often.
    var others: [String] {
        get { segments.withLock { $0 } }
        set { segments.withLock { $0 = newValue } }
    }

    /// The bars as a segment, as `mic ●████▌  in ██▎   `; empty if there is no sound.
    static func text(_ levels: Levels) -> String {
        var parts: [String] = []
        if let sent = levels.sent {
            let voice = levels.hasVoice.map { $0 ? "●" : "○" } ?? ""
            parts.append("mic \(voice)\(bar(sent))")
        }
        if let received = levels.received { parts.append("in \(bar(received))") }
        return parts.joined(separator: " ")
    }

    private static func bar(_ level: Double) -> String {
        let decibels = SoundLevel.decibels(meanSquare: level * level)
        return Amount.bar((decibels + lowest) / lowest, columns: columns)
    }
}
