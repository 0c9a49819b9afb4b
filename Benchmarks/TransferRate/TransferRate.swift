import FileTransfer
import Glibc
import PeerConnection

/// Prints the rates of a file from disk to disk, and of the bare channel beside it: `transfer-rate DIRECTORY [MEBIBYTES]`.
@main struct TransferRate {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 2 else { return print("usage: transfer-rate DIRECTORY [MEBIBYTES]") }
        let directory = arguments[1]
        let mebibytes = arguments.count > 2 ? Int(arguments[2]) ?? 512 : 512
        mkdir(directory + "/in", 0o700)
        mkdir(directory + "/out", 0o700)
        let path = directory + "/in/file"
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        var block = [UInt8](repeating: 0, count: 1 << 20)
        for number in 0..<mebibytes {
            for index in stride(from: 0, to: block.count, by: 8) {
                block[index] = UInt8(truncatingIfNeeded: number &* 31 &+ index >> 3)
            }
            guard write(file, block, block.count) == block.count else { return print("cannot write \(path)") }
        }
        close(file)

        for round in 1...3 {
            let memory = MemoryChannel.pair()
            let memoryRate = try await rate(mebibytes) { try await transfer(path, directory, memory.0, memory.1) }
            let bare = try await Connection()
            let raw = try await rate(mebibytes) { try await flood(bare.first, bare.second, mebibytes) }
            bare.close()
            let connection = try await Connection()
            let over = try await rate(mebibytes) {
                try await transfer(path, directory, connection.first, connection.second)
            }
            connection.close()
            print(
                "round \(round): in memory \(memoryRate), bare data channel \(raw), files over it \(over)"
            )
        }
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        print("most memory at a time: \(usage.ru_maxrss / 1024) MiB")
    }

    private static func rate(_ mebibytes: Int, _ body: () async throws -> Void) async throws -> String {
        let start = ContinuousClock.now
        let processor = clock()
        try await body()
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let processorSeconds = Double(clock() - processor) / 1_000_000
        let megabytes = Double(mebibytes) * 1.048576
        return "\(Int(megabytes / seconds)) MB/s (\(Int(processorSeconds / megabytes * 1_000_000)) µs/MB of processor)"
    }

    private static func transfer(
        _ path: String,
        _ directory: String,
        _ here: some TransferChannel,
        _ there: some TransferChannel
    ) async throws {
        unlink(directory + "/out/file")
        async let sent = FileSender(paths: [path]).run(over: here)
        try await FileReceiver(target: directory + "/out").run(over: there)
        _ = try await sent
    }

    private static func flood(_ here: RTCDataChannel, _ there: RTCDataChannel, _ mebibytes: Int) async throws {
        let sending = Task {
            let message = [UInt8](repeating: 1, count: 131_088)
            for _ in 0..<(mebibytes * 8) { try await here.send(TransferMessage.binary(message)) }
        }
        var count = 0
        for await _ in there.incoming {
            count += 1
            if count == mebibytes * 8 { break }
        }
        try await sending.value
    }
}

/// Two connections of this process with a channel.
struct Connection {
    let connections: (RTCPeerConnection, RTCPeerConnection)
    let first: RTCDataChannel
    let second: RTCDataChannel

    init() async throws {
        var configuration = RTCConfiguration()
        configuration.localAddresses = ["127.0.0.1"]
        let (here, there) = (
            try RTCPeerConnection(configuration: configuration), try RTCPeerConnection(configuration: configuration)
        )
        connections = (here, there)
        for (from, other) in [(here, there), (there, here)] {
            let events = from.events
            Task {
                for await event in events {
                    guard case .iceCandidate(let candidate) = event else { continue }
                    while other.remoteDescription == nil, other.connectionState != .closed { await Task.yield() }
                    try? await other.addIceCandidate(candidate)
                }
            }
        }
        first = try here.createDataChannel("files")
        let events = there.events
        try await here.setLocalDescription()
        if let description = here.localDescription { try await there.setRemoteDescription(description) }
        try await there.setLocalDescription()
        if let description = there.localDescription { try await here.setRemoteDescription(description) }
        try await first.waitUntilOpen()
        var incoming: RTCDataChannel?
        for await event in events {
            if case .dataChannel(let channel) = event {
                incoming = channel
                break
            }
        }
        guard let incoming else { throw RTCError(.operationError, "no channel came") }
        second = incoming
    }

    func close() {
        connections.0.close()
        connections.1.close()
    }
}
