import Foundation
import Media
import NullSound
import Testing

@testable import Capture

/// What is said of cameras that are not there or are something else.
@Suite struct CameraDevices {
    @Test func `A missing node is not found`() {
        let error = #expect(throws: MediaError.self) { try V4L2Camera(path: "/dev/video-none") }
        #expect(error?.kind == .notFound)
        #expect(error?.subject == "/dev/video-none")
        #expect(error?.message.contains("rtc-peer devices") == true)
    }

    @Test(arguments: ["/dev/null", "/dev/zero", "/dev", "/etc/passwd", "/", ""])
    func `What is no camera is refused`(path: String) {
        let error = #expect(throws: MediaError.self) { try V4L2Camera(path: path) }
        #expect(error?.kind == .notUsable || error?.kind == .notFound || error?.kind == .notPermitted)
    }

    @Test func `A path with a zero byte is refused`() {
        let error = #expect(throws: MediaError.self) { try V4L2Camera(path: "/dev/null\u{0}/dev/video0") }
        #expect(error?.kind == .invalidArgument)
    }

    @Test func `Errors say what to do`() {
        #expect(V4L2Device.error(EACCES, "/dev/video0", "").kind == .notPermitted)
        #expect(V4L2Device.error(EACCES, "/dev/video0", "").message.contains("group video"))
        #expect(V4L2Device.error(EBUSY, "/dev/video0", "").kind == .busy)
        #expect(V4L2Device.error(EBUSY, "/dev/video0", "").message.contains("fuser -v /dev/video0"))
        #expect(V4L2Device.error(ENODEV, "/dev/video0", "").kind == .unplugged)
        let other = V4L2Device.error(EINVAL, "/dev/video0", "cannot open it")
        #expect(other.description == "/dev/video0: cannot open it: Invalid argument")
    }

    @Test func `Listing works on any machine`() {
        ALSAConfiguration.use()
        let listing = Camera.all()
        for camera in listing.cameras { #expect(!camera.modes.isEmpty && camera.path.hasPrefix("/dev/video")) }
        for device in SoundDevice.all(.capture) + SoundDevice.all(.playback) { #expect(!device.name.isEmpty) }
    }
}

/// The thread of a device: delivering, stopping, ending.
@Suite struct DeviceThreads {
    @Test func `Nothing is delivered after stop, which waits for a delivery under way`() async throws {
        let thread = try DeviceThread(subject: "test")
        let (begun, counts) = (Gathering<Void>(1), Gathering<Int>(.max))
        try thread.run(name: "test", subject: "test") {
            while !thread.isStopped {
                thread.deliver {
                    counts.add(0)
                    begun.add(())
                    counts.add(1)
                }
            }
        }
        _ = await begun.result()
        thread.stop()
        let count = counts.count
        #expect(count % 2 == 0)
        #expect(thread.waitForEnd(milliseconds: 5_000))
        #expect(counts.count == count)
        thread.deliver { counts.add(2) }
        #expect(counts.count == count)
    }

    @Test func `A taker may stop its own source`() async throws {
        let thread = try DeviceThread(subject: "test")
        let ended = Gathering<Bool>(1)
        try thread.run(name: "test", subject: "test") {
            thread.deliver { thread.stop() }
            ended.add(thread.waitForEnd(milliseconds: 60_000))
        }
        #expect(await ended.result() == [false])
        #expect(thread.waitForEnd(milliseconds: 5_000))
    }

    @Test func `What is handed over ends with its user`() async throws {
        final class Token: Sendable {
            let ended: Gathering<Void>
            init(_ ended: Gathering<Void>) { self.ended = ended }
            deinit { ended.add(()) }
        }
        let (thread, ended) = (try DeviceThread(subject: "test"), Gathering<Void>(1))
        let handover = Handover(Token(ended))
        try thread.run(name: "test", subject: "test") { _ = handover.take() }
        #expect(thread.waitForEnd(milliseconds: 5_000))
        #expect(ended.count == 1)
        #expect(handover.take() == nil)
    }
}
