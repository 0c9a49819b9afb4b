import Locking
import PeerConnection

/// Waits for a picture of a source, and says what is missing where none comes.
struct FirstPicture {
    /// How long a source may take.
    var patience: Duration
    /// What the error says then, behind the source's name.
    var failure: String
    /// What a user is told where nothing comes at once, and after how long.
    var hint: (delay: Duration, words: String)?
    /// Nanoseconds of pictures that are let go before one is kept.
    var settling: Int64 = 0

    /// A camera, which needs a moment to find its exposure.
    static var camera: FirstPicture {
        FirstPicture(
            patience: .seconds(5),
            failure: "gave no picture within 5 s: try another --size, or look at `rtc-peer devices --try`",
            settling: 500_000_000
        )
    }

    /// A file, a pattern, or a screen of X11, which give a picture at once.
    static var prompt: FirstPicture {
        FirstPicture(patience: .seconds(5), failure: "gave no picture within 5 s: it has none that can be read")
    }

    /// A screen by the desktop's portal: wlroots desktops give a picture only when something changes.
    ///
    /// Where the terminal is on the screen that was chosen, the hint itself is the change.
    static var portal: FirstPicture {
        FirstPicture(
            patience: .seconds(30),
            failure:
                "gave no picture within 30 s: some desktops (wlroots, as sway) give none before something changes on the "
                + "screen, so move the pointer there, or a window, while it is waited for; another desktop's portal may have "
                + "failed (journalctl --user -u 'xdg-desktop-portal*')",
            hint: (.seconds(1), stillScreenHint)
        )
    }

    /// What a user of such a screen can do.
    static let stillScreenHint =
        "The desktop has given no picture yet, and may give none before something changes: move the pointer on the screen that "
        + "was chosen."

    /// What suits a choice.
    init(_ video: VideoChoice, isPortal: Bool) {
        switch video {
        case .camera: self = .camera
        case .screen where isPortal: self = .portal
        default: self = .prompt
        }
    }

    init(
        patience: Duration,
        failure: String,
        hint: (delay: Duration, words: String)? = nil,
        settling: Int64 = 0
    ) {
        self.patience = patience
        self.failure = failure
        self.hint = hint
        self.settling = settling
    }

    /// Starts the source, waits for its picture, and stops it.
    ///
    /// - Parameters:
    ///   - source: not yet started.
    ///   - tell: gets the hint.
    /// - Returns: the first picture, or the first after the settling.
    /// - Throws: what the source fails with; `MediaError.notUsable` if it gives nothing in time.
    func wait(
        for source: any VideoSource,
        tell: @escaping @Sendable (String) -> Void
    ) async throws -> VideoFrame {
        let first = Mutex<Int64?>(nil)
        let (pictures, feed) = AsyncThrowingStream<VideoFrame, any Error>.makeStream(
            bufferingPolicy: .bufferingNewest(1)
        )
        (source as? any FailingDevice)?.addFailureHandler { feed.finish(throwing: $0) }
        try source.start { [settling] frame in
            let start = first.withLock { first in
                if first == nil { first = frame.timestampNanoseconds }
                return first ?? 0
            }
            if frame.timestampNanoseconds - start >= settling { feed.yield(frame) }
        }
        defer { source.stop() }
        let watch = Task { [patience, failure, hint] in
            if let hint, hint.delay < patience {
                try await Task.sleep(for: hint.delay)
                tell(hint.words)
                try await Task.sleep(for: patience - hint.delay)
            } else {
                try await Task.sleep(for: patience)
            }
            feed.finish(throwing: MediaError(.notUsable, source.label, failure))
        }
        defer { watch.cancel() }
        for try await picture in pictures { return picture }
        throw CancellationError()
    }
}
