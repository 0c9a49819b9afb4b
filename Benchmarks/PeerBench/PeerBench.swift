// PeerBench: one peer of the comparison in Benchmarks/README.md: `peer-bench ROLE FIGURE ARGS…`.
//
// ROLE is offer, answer (two processes whose standard input and output are cross-connected) or both. The figures and
// what each reports are described in Benchmarks/README.md. Results go to standard error as `RESULT {json}`.

import Glibc
import PeerConnection

@main
struct PeerBench {
    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard arguments.count >= 3 else {
            print(
                "usage: peer-bench offer|answer|both "
                    + "dc|ping|channels|bursts|setup|idle|rtp|media|codec|capture|latency|screen|lab ARGS…"
            )
            exit(2)
        }
        if getenv("BENCH_SHARED_PORT") != nil {
            let address = getenv("BENCH_ADDR").map { String(cString: $0) }
            sharedPort = try await SharedUDPPort(localAddresses: address.map { [$0] })
        }
        let figure = arguments[1]
        let rest = Array(arguments[2...])
        switch (arguments[0], figure) {
        case ("both", "setup"):
            let threads = rest.count > 1 ? Threads(rawValue: rest[1]) : .loop
            guard let threads else {
                print("loop or shared, not \(rest[1])")
                exit(2)
            }
            try await SetUp(count: integer(rest, 0), threads: threads).run()
        case ("both", "idle"): try await Idle(pairCount: integer(rest, 0), seconds: number(rest, 1)).run()
        case ("both", "screen"): try await ScreenCost(seconds: number(rest, 0)).run()
        case ("both", "capture"): try await CameraCost(rest).run()
        case ("both", "latency"): try await DeviceLatency(rest).run()
        case ("both", "codec"): try await CodecCost(rest).run()
        case ("offer", "dc"): try await Throughput(rest).offer()
        case ("answer", "dc"): try await Throughput(rest).answer()
        case ("offer", "channels"), ("answer", "channels"):
            try await ChannelKinds(count: integer(rest, 0)).run(role: arguments[0])
        case ("offer", "bursts"), ("answer", "bursts"):
            try await ChannelBursts(count: integer(rest, 0)).run(role: arguments[0])
        case ("offer", "ping"): try await PingPong(count: integer(rest, 0)).offer()
        case ("answer", "ping"): try await PingPong(count: integer(rest, 0)).answer()
        case ("offer", "rtp"): try await PacketRate(seconds: number(rest, 0)).offer()
        case ("answer", "rtp"): try await PacketRate(seconds: number(rest, 0)).answer()
        case ("offer", "lab"), ("answer", "lab"): try await LabPeer(rest).run(role: arguments[0])
        case ("offer", "media"), ("answer", "media"): try await MediaCall(role: arguments[0], rest).run()
        default:
            print("unknown: \(arguments.joined(separator: " "))")
            exit(2)
        }
        exit(0)
    }

    static func integer(_ arguments: [String], _ index: Int) -> Int { Int(number(arguments, index)) }

    static func number(_ arguments: [String], _ index: Int) -> Double {
        guard index < arguments.count, let value = Double(arguments[index]), value >= 0, value < 1e9 else {
            print("argument \(index + 1) must be a number")
            exit(2)
        }
        return value
    }

    /// What all connections use if the environment says so; set before any work begins.
    nonisolated(unsafe) private static var sharedPort: SharedUDPPort?

    /// The configuration of every figure: one address, no servers.
    static func configuration() -> RTCConfiguration {
        var configuration = RTCConfiguration()
        if let address = getenv("BENCH_ADDR") { configuration.localAddresses = [String(cString: address)] }
        configuration.sharedUDPPort = sharedPort
        return configuration
    }
}
