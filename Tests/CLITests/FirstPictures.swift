import Locking
import PeerConnection
import Testing

@testable import rtc_peer

/// What `rtc-peer snapshot` does until a picture comes, and where none does.
@Suite struct FirstPictures {
    /// A screen of wlroots: it gives a picture when something changes, and none before.
    private final class StillScreen: VideoSource, FailingDevice {
        let label = "monitor"
        private struct State {
            var deliver: (@Sendable (VideoFrame) -> Void)?
            var fail: (@Sendable (MediaError) -> Void)?
            var isStopped = false
        }
        private let state = Mutex(State())

        var isStopped: Bool { state.withLock { $0.isStopped } }
        func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void) {
            state.withLock { $0.fail = handler }
        }
        func start(deliver: @escaping @Sendable (VideoFrame) -> Void) { state.withLock { $0.deliver = deliver } }
        func stop() { state.withLock { $0.isStopped = true } }
        func change(at nanoseconds: Int64 = 0) {
            guard let frame = try? TestPattern().frame(7, timestampNanoseconds: nanoseconds) else { return }
            state.withLock { $0.deliver }?(frame)
        }
        func end() { state.withLock { $0.fail }?(MediaError(.unplugged, label, "the user has ended the sharing")) }
    }

    private func waiting(_ patience: Duration, hint: Duration?) -> FirstPicture {
        FirstPicture(
            patience: patience,
            failure: FirstPicture.portal.failure,
            hint: hint.map { ($0, "move the pointer") }
        )
    }

    /// The terminal may be on that very screen.
    @Test(.timeLimit(.minutes(10))) func `A still screen is told of, and its first change is the picture`() async throws
    {
        let screen = StillScreen()
        let told = Mutex<[String]>([])
        let picture = try await waiting(.seconds(600), hint: .milliseconds(1)).wait(for: screen) { words in
            told.withLock { $0.append(words) }
            screen.change()
        }
        #expect(TestPattern.readCounter(picture) == 7)
        #expect(told.withLock { $0 } == ["move the pointer"])
        #expect(screen.isStopped)
    }

    @Test(.timeLimit(.minutes(10))) func `A screen that never changes ends with what to do`() async throws {
        let screen = StillScreen()
        let error = await #expect(throws: MediaError.self) {
            _ = try await waiting(.milliseconds(5), hint: nil).wait(for: screen) { _ in }
        }
        #expect(error?.kind == .notUsable && error?.subject == "monitor")
        #expect(error?.message.contains("move the pointer") == true)
        #expect(error?.message.contains("--size") == false)
        #expect(screen.isStopped)
    }

    @Test(.timeLimit(.minutes(10))) func `A source that ends says why`() async throws {
        let screen = StillScreen()
        let error = await #expect(throws: MediaError.self) {
            _ = try await waiting(.seconds(600), hint: .milliseconds(1)).wait(for: screen) { _ in screen.end() }
        }
        #expect(error?.kind == .unplugged)
    }

    @Test(.timeLimit(.minutes(10))) func `A camera's first pictures are let go`() async throws {
        let camera = StillScreen()
        var settling = waiting(.seconds(600), hint: .milliseconds(1))
        settling.settling = 500_000_000
        let picture = try await settling.wait(for: camera) { _ in
            for time in [1, 300_000_000, 500_000_001, 600_000_000] as [Int64] { camera.change(at: time) }
        }
        #expect(picture.timestampNanoseconds >= 500_000_001)
    }

    @Test func `Only a portal's screen is waited for so long`() {
        #expect(FirstPicture(.screen(nil), isPortal: true).hint != nil)
        #expect(FirstPicture(.screen(nil), isPortal: false).hint == nil)
        #expect(FirstPicture(.camera, isPortal: false).settling > 0)
        #expect(FirstPicture(.camera, isPortal: false).failure.contains("--size"))
        #expect(FirstPicture(.test, isPortal: false).settling == 0)
    }
}
