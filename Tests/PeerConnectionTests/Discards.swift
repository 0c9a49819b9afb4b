import Glibc
import PeerConnection
import Testing
import TimeSharing

/// What strangers send, as statistics tell it.
@Suite(.realTime) struct Discards {
    @Test(.timeLimit(.minutes(10))) func whatIsNotUsedIsCountedByReason() async throws {
        let connection = try RTCPeerConnection(configuration: ConnectedPair.configuration())
        defer { connection.close() }
        _ = try connection.createDataChannel("x")
        try await connection.setLocalDescription()
        await connection.waitUntilGathered()
        let sdp = try #require(connection.localDescription).sdp
        let candidate = try #require(
            sdp.split(whereSeparator: \.isNewline).first { $0.hasPrefix("a=candidate:") && $0.contains(" udp ") }
        )
        let port = try #require(UInt16(candidate.split(separator: " ")[5]))
        #expect(await connection.getStats().discards.isEmpty)
        let stranger = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(stranger) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        // Of no protocol, STUN that ends too early, and a whole request that proves nothing.
        let header: [UInt8] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42] + (1...12)
        for bytes in [[0xFF, 1, 2, 3], Array(header.dropLast()), header] as [[UInt8]] {
            let count = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe sendto(stranger, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            #expect(count == bytes.count)
        }
        var discards: [String: Int] = [:]
        while discards.values.reduce(0, +) < 3 { discards = await connection.getStats().discards }
        #expect(discards == ["path.unknown": 1, "ice.malformed": 1, "ice.incompleteRequests": 1])
    }
}
