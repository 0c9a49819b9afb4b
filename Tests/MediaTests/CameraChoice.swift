import Media
import Testing

@testable import Capture

/// Which of a camera's modes is chosen for what is wanted.
@Suite struct CameraChoice {
    private func mode(_ format: CameraPixelFormat, _ width: Int, _ height: Int, _ rates: Int...) -> CameraMode {
        CameraMode(
            format: format,
            width: width,
            height: height,
            intervals: rates.compactMap { FrameInterval(numerator: 1, denominator: UInt32($0)) }
        )
    }

    /// A usual webcam: raw where USB 2 can carry it, else MJPEG.
    private var webcam: [CameraMode] {
        [
            mode(.mjpeg, 1920, 1080, 30), mode(.mjpeg, 1280, 720, 30), mode(.mjpeg, 640, 480, 30),
            mode(.mjpeg, 640, 360, 30),
            mode(.yuyv, 640, 480, 30, 15), mode(.yuyv, 640, 360, 30, 24, 15), mode(.yuyv, 1280, 720, 10, 5),
            mode(.yuyv, 320, 240, 30),
        ]
    }

    @Test func `The wanted size in the cheapest format`() {
        #expect(CameraMode.best(of: webcam, for: CameraWish()) == mode(.yuyv, 640, 360, 30, 24, 15))
        let rich = webcam + [mode(.nv12, 640, 360, 30), mode(.i420, 640, 360, 30)]
        #expect(CameraMode.best(of: rich, for: CameraWish())?.format == .i420)
        var wish = CameraWish()
        wish.formats = [.mjpeg, .yv12]
        #expect(CameraMode.best(of: rich, for: wish) == mode(.mjpeg, 640, 360, 30))
        #expect(CameraMode.best(of: rich.reversed(), for: CameraWish())?.format == .i420)
    }

    @Test func `MJPEG where raw pictures come too slowly`() {
        #expect(CameraMode.best(of: webcam, for: CameraWish(width: 1280, height: 720)) == mode(.mjpeg, 1280, 720, 30))
        #expect(
            CameraMode.best(of: webcam, for: CameraWish(width: 1280, height: 720, framesPerSecond: 10))
                == mode(.yuyv, 1280, 720, 10, 5)
        )
    }

    @Test func `The next larger size where the wanted one is missing`() {
        #expect(
            CameraMode.best(of: webcam, for: CameraWish(width: 600, height: 340)) == mode(.yuyv, 640, 360, 30, 24, 15)
        )
        #expect(
            CameraMode.best(of: [mode(.yuyv, 640, 480, 30), mode(.yuyv, 320, 240, 30)], for: CameraWish())?.width == 640
        )
        #expect(
            CameraMode.best(of: [mode(.yuyv, 320, 240, 30), mode(.yuyv, 160, 120, 30)], for: CameraWish())?.width == 320
        )
        #expect(CameraMode.best(of: [], for: CameraWish()) == nil)
    }

    @Test func `The slowest rate that is enough, else the fastest`() {
        let camera = mode(.yuyv, 640, 360, 60, 30, 15)
        #expect(camera.interval(for: CameraWish())?.framesPerSecond == 30)
        #expect(camera.interval(for: CameraWish(framesPerSecond: 20))?.framesPerSecond == 30)
        #expect(camera.interval(for: CameraWish(framesPerSecond: 120))?.framesPerSecond == 60)
        #expect(mode(.yuyv, 640, 360).interval(for: CameraWish()) == nil)
        let television = CameraMode(
            format: .yuyv,
            width: 640,
            height: 480,
            intervals: [FrameInterval(numerator: 1001, denominator: 30_000)].compactMap { $0 }
        )
        #expect(television.interval(for: CameraWish()) != nil)
        #expect(television.penalty(for: CameraWish(width: 640, height: 480)) < 10)
    }

    @Test func `Values out of range do no harm`() {
        #expect(FrameInterval(numerator: 0, denominator: 1) == nil)
        #expect(FrameInterval(numerator: 1, denominator: 0) == nil)
        #expect(FrameInterval(numerator: .max, denominator: 1) == nil)
        #expect(FrameInterval(numerator: 1, denominator: .max) == nil)
        #expect(
            CameraWish(width: -1, height: .max, framesPerSecond: 0)
                == CameraWish(width: 16, height: 8_192, framesPerSecond: 1)
        )
        let strange = mode(.yuyv, 0, 0, 30)
        #expect(CameraMode.best(of: [strange], for: CameraWish()) == strange)
    }

    @Test func `Sizes in steps are met as near as can be`() {
        #expect(Camera.fit(640, 16, 1_920, 16) == 640)
        #expect(Camera.fit(650, 16, 1_920, 16) == 640)
        #expect(Camera.fit(8, 16, 1_920, 16) == 16)
        #expect(Camera.fit(4_000, 16, 1_920, 16) == 1_920)
        #expect(Camera.fit(640, 100, 50, 0) == 100)
        #expect(Camera.fit(640, .max, .max, .max) == Int(UInt32.max))
    }

    @Test func `Codes and formats go both ways`() {
        for format in CameraPixelFormat.allCases { #expect(CameraPixelFormat(fourCC: format.fourCC) == format) }
        #expect(CameraPixelFormat(fourCC: 0x4745_504A) == .mjpeg)
        #expect(CameraPixelFormat(fourCC: 0) == nil)
    }
}
