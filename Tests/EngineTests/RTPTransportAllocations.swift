import AllocationCounter
import PeerEngine
import RTP
import SRTP
import SansIO
import Testing

@Suite(
    "RTP transport: allocations",
    .enabled(if: allocation_counter_counts(), "a sanitizer has its own malloc"),
    .serialized
)
struct RTPTransportAllocations {
    private let payload = [UInt8](repeating: 0x42, count: 1_000)

    /// Allocations that libsrtp makes for one packet: Debian's build keeps its ciphers in NSS, which allocates.
    private func allocationsOfSRTP() throws -> (protect: Int64, unprotect: Int64) {
        var outbound = try SRTPSession(
            profile: .aes128CmSha1_80,
            key: Array(repeating: 1, count: 16),
            salt: Array(repeating: 1, count: 14),
            direction: .outbound
        )
        var inbound = try SRTPSession(
            profile: .aes128CmSha1_80,
            key: Array(repeating: 1, count: 16),
            salt: Array(repeating: 1, count: 14),
            direction: .inbound
        )
        let packet = UnsafeMutableRawBufferPointer.allocate(byteCount: 2_048, alignment: 16)
        defer { packet.deallocate() }
        var result: (protect: Int64, unprotect: Int64) = (0, 0)
        for number in 0..<10 {
            packet.initializeMemory(as: UInt8.self, repeating: 0)
            packet[0] = 0x80
            packet[3] = UInt8(number)
            let start = allocation_counter_this_thread()
            let byteCount = try outbound.protect(packet, byteCount: 1_000)
            let middle = allocation_counter_this_thread()
            _ = try inbound.unprotect(UnsafeMutableRawBufferPointer(rebasing: packet[..<byteCount]))
            result = (middle - start, allocation_counter_this_thread() - middle)
        }
        return result
    }

    private func receive(_ datagram: [UInt8], _ pair: RTPTransportPair) {
        pair.b.transport.receive(datagram.span.bytes, at: pair.now)
    }

    @Test("a received packet that does not complete a frame allocates nothing")
    func receiving() throws {
        let library = try allocationsOfSRTP().unprotect
        let pair = try RTPTransportPair(seed: 60)
        pair.addVideo()
        // Frames of 40 packets, made by hand so that one can be measured packet by packet.
        func frame(_ number: Int) -> [[UInt8]] {
            for index in 0..<40 {
                var content = payload
                content[0] = index == 0 ? 0x10 : 0
                content[1] = number == 0 ? 0 : 1
                content.withUnsafeBytes {
                    _ = pair.a.transport.sendPacket(
                        payload: $0,
                        mid: "1",
                        marker: index == 39,
                        timestamp: UInt32(number * 3_000),
                        at: pair.now
                    )
                }
            }
            var datagrams: [[UInt8]] = []
            pair.a.transmits.drain { datagrams.append(Array($1)) }
            pair.now = pair.now + .milliseconds(10)
            return datagrams
        }
        let frames = (0..<20).map(frame)
        #expect(frames.allSatisfy { $0.count == 40 })
        var perFrame: [Int64] = []
        var others: Int64 = 0
        for (number, datagrams) in frames.enumerated() {
            let before = allocation_counter_this_thread()
            for index in 0..<39 { receive(datagrams[index], pair) }
            let middle = allocation_counter_this_thread()
            receive(datagrams[39], pair)
            let end = allocation_counter_this_thread()
            if number >= 5 {
                others += middle - before - 39 * library
                perFrame.append(end - middle - library)
            }
            // The events stay queued: draining them belongs to the owner.
        }
        #expect(others == 0)
        #expect(perFrame == Array(repeating: 1, count: perFrame.count))
        pair.drain()
        #expect(pair.b.frames.count == 20)
    }

    @Test("a packet sent past the pacer allocates nothing once the queue has grown")
    func sending() throws {
        let library = try allocationsOfSRTP().protect
        let pair = try RTPTransportPair(seed: 61)
        pair.addVideo()
        var counts: [Int64] = []
        for round in 0..<100 {
            let before = allocation_counter_this_thread()
            for index in 0..<32 {
                payload.withUnsafeBytes {
                    _ = pair.a.transport.sendPacket(
                        payload: $0,
                        mid: "1",
                        marker: false,
                        timestamp: UInt32(index),
                        at: pair.now
                    )
                }
            }
            pair.a.transmits.removeAll()
            if round > 50 { counts.append(allocation_counter_this_thread() - before - 32 * library) }
        }
        #expect(counts.allSatisfy { $0 == 0 })
    }

    @Test("a paced frame allocates nothing but what its caller made")
    func pacedSending() throws {
        let library = try allocationsOfSRTP().protect
        let pair = try RTPTransportPair(seed: 62)
        pair.addVideo()
        let frame = EncodedFrame(payload: Array(repeating: 1, count: 6_000), rtpTimestamp: 0)
        var counts: [Int64] = []
        for round in 0..<300 {
            let before = allocation_counter_this_thread()
            pair.a.transport.send(frame, mid: "1", at: pair.now)
            let packets = Int64(pair.a.transmits.count)
            if round > 200 { counts.append(allocation_counter_this_thread() - before - packets * library) }
            pair.now = pair.now + .milliseconds(33)
            pair.a.transport.handleTimeout(at: pair.now)
            pair.a.transmits.removeAll()
        }
        #expect(counts.allSatisfy { $0 == 0 })
    }
}
