import Foundation
import Locking
import PeerConnection
import VirtualScreen

/// `screen SECONDS`: what capturing 1920x1080 at 30 pictures a second and turning it into I420 costs, beside ffmpeg's
/// x11grab, in turn on the same X server without a monitor: still, with a part of 320x180 that changes 30 times a second, and
/// with all of it changing so.
///
/// The server copies the pixels, so that its time is told, too.
struct ScreenCost {
    let seconds: Double

    private static let (width, height, rate) = (1_920, 1_080, 30)

    func run() async throws {
        let screen = try VirtualScreen("\(Self.width)x\(Self.height)x24")
        screen.fill(0x30_60_90)
        var results: [String: Double] = [:]
        for (name, width, height) in [("still", 0, 0), ("part", 320, 180), ("whole", Self.width, Self.height)] {
            for grabber in ["own", "ffmpeg"] {
                let painter = Painter(display: screen, width: width, height: height, rate: Self.rate)
                painter.start()
                try await Task.sleep(for: .milliseconds(500))
                let server = Self.cpu(of: screen.processIdentifier)
                let own: Double
                if grabber == "own" {
                    let (cpu, frames) = try await capture(screen, painter)
                    results["\(name)_own_frames_per_second"] = Double(frames) / seconds
                    own = cpu
                } else {
                    own = try grab(screen)
                }
                let served = Self.cpu(of: screen.processIdentifier) - server
                painter.stop()
                results["\(name)_\(grabber)_cpu_percent"] = own / seconds * 100
                results["\(name)_\(grabber)_server_cpu_percent"] = served / seconds * 100
            }
            let painter = Painter(display: screen, width: width, height: height, rate: Self.rate)
            painter.start()
            let server = Self.cpu(of: screen.processIdentifier)
            try await Task.sleep(for: .seconds(seconds))
            results["\(name)_drawing_server_cpu_percent"] =
                (Self.cpu(of: screen.processIdentifier) - server) / seconds * 100
            painter.stop()
        }
        screen.end()
        Wire.result(results.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
    }

    /// Seconds of CPU that this process needs, without the painter's, and pictures that were read.
    private func capture(_ screen: VirtualScreen, _ painter: Painter) async throws -> (cpu: Double, frames: Int) {
        let surfaces = try ScreenCapture.surfaces(display: screen.display)
        let capture = try ScreenCapture(surfaces[0], framesPerSecond: Double(Self.rate))
        try capture.start { _ in }
        let (begin, painted) = (Meter.cpu(), painter.seconds)
        try await Task.sleep(for: .seconds(seconds))
        let cpu = Meter.cpu() - begin - (painter.seconds - painted)
        capture.stop()
        return (cpu, capture.statistics.framesCaptured)
    }

    /// Seconds of CPU that ffmpeg needs for the same.
    private func grab(_ screen: VirtualScreen) throws -> Double {
        let begin = Self.childrenCPU()
        let ffmpeg = Process()
        ffmpeg.executableURL = URL(fileURLWithPath: "/usr/bin/ffmpeg")
        ffmpeg.arguments = [
            "-loglevel", "fatal", "-nostdin", "-f", "x11grab", "-framerate", "\(Self.rate)", "-video_size",
            "\(Self.width)x\(Self.height)", "-i", screen.display, "-t", "\(seconds)", "-pix_fmt", "yuv420p", "-f",
            "null",
            "-",
        ]
        try ffmpeg.run()
        ffmpeg.waitUntilExit()
        return Self.childrenCPU() - begin
    }

    private static func childrenCPU() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage)
        func seconds(_ value: timeval) -> Double { Double(value.tv_sec) + Double(value.tv_usec) * 1e-6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    /// Seconds of CPU of a process, from /proc/PID/stat.
    private static func cpu(of process: Int32) -> Double {
        let text = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)) ?? ""
        // The name before may hold spaces; utime and stime are the 14th and 15th field.
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
}

/// Draws rectangles at a rate, on a thread of its own.
private final class Painter: @unchecked Sendable {
    // The thread alone draws; the rest is guarded by the mutex.
    private let display: VirtualScreen
    private let width: Int
    private let height: Int
    private let rate: Int
    private let state = Mutex((isStopped: false, seconds: 0.0))
    private let end = DispatchSemaphore(value: 0)

    init(display: VirtualScreen, width: Int, height: Int, rate: Int) {
        self.display = display
        self.width = width
        self.height = height
        self.rate = rate
    }

    /// CPU of the thread.
    var seconds: Double { state.withLock { $0.seconds } }

    func start() {
        Thread.detachNewThread { [self] in
            var due = Meter.now()
            var index: UInt32 = 0
            while !state.withLock({ $0.isStopped }) {
                if width > 0, width < 1_500 {
                    display.fill(Int(index) * 7 % 1_500 & ~1, 400, width, height, index &* 0x01_35_79)
                }
                if width > 1_500 { display.fill(0, 0, width, height, index &* 0x02_46_81) }
                index &+= 1
                due += 1 / Double(rate)
                var time = timespec()
                clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
                state.withLock { $0.seconds = Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9 }
                usleep(UInt32(max(0, due - Meter.now()) * 1e6))
            }
            end.signal()
        }
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        end.wait()
    }
}
