import Glibc
import PeerConnection

/// The lines that two benchmark processes exchange: `KIND<TAB>TEXT`, line ends inside as byte 1.
enum Wire {
    static func put(_ kind: String, _ text: String = "") {
        let flat = text.filter { $0 != "\r" }.replacingLineEnds()
        write("\(kind)\t\(flat)\n", to: STDOUT_FILENO)
    }

    static func get() async -> (kind: String, text: String) {
        guard let line = readLine(strippingNewline: true) else { exit(3) }
        let parts = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
        let text =
            parts.count > 1
            ? parts[1].split(separator: "\u{1}", omittingEmptySubsequences: false).joined(separator: "\r\n") : ""
        return (String(parts[0]), text)
    }

    /// Waits until gathering is complete and writes the local description.
    static func waitForGathering(of connection: RTCPeerConnection) async {
        let events = connection.events
        guard connection.iceGatheringState != .complete else { return }
        for await event in events {
            if case .iceGatheringStateChange(.complete) = event { return }
        }
    }

    static func putLocalDescription(of connection: RTCPeerConnection) async {
        await waitForGathering(of: connection)
        if let description = connection.localDescription { put(description.type.rawValue, description.sdp) }
    }

    static func takeRemoteDescription(for connection: RTCPeerConnection) async throws {
        let (kind, text) = await get()
        guard let type = RTCSdpType(rawValue: kind) else { exit(3) }
        try await connection.setRemoteDescription(.init(type: type, sdp: text))
    }

    static func result(_ values: KeyValuePairs<String, Double?>) { result(values.map { ($0.key, $0.value) }) }

    static func result(_ values: [(String, Double?)]) {
        let text = values.compactMap { key, value in value.map { "\"\(key)\":\($0.rounded(3))" } }.joined(
            separator: ","
        )
        write("RESULT {\(text)}\n", to: STDERR_FILENO)
    }

    /// Says something to whoever reads the log.
    static func note(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: CInt) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}

extension String {
    fileprivate func replacingLineEnds() -> String {
        // "\r\n" is one Character: work on the bytes.
        String(decoding: utf8.filter { $0 != 13 }.map { $0 == 10 ? 1 : $0 }, as: UTF8.self)
    }
}

extension Double {
    func rounded(_ digits: Int) -> Double {
        let scale = pow(10, Double(digits))
        return (self * scale).rounded() / scale
    }
}

/// Clocks and memory of this process.
enum Meter {
    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    static func cpu() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ value: timeval) -> Double { Double(value.tv_sec) + Double(value.tv_usec) * 1e-6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    /// A line of /proc/self/status in MB, as `VmRSS:` or `VmHWM:`.
    static func statusMB(_ key: String) -> Double {
        guard let file = fopen("/proc/self/status", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix(key),
                let value = text.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
            {
                return (Double(value) ?? 0) / 1024
            }
        }
        return 0
    }

    static func percentile(_ sorted: [Double], _ share: Double) -> Double {
        sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }
}
