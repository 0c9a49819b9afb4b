import CCRC32C
import SCTP
import Testing

@Suite struct SCTPChecksum {
    /// CRC32c bit by bit. RFC 9260 appendix A
    static func reference(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var crc = UInt32.max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
        }
        return ~crc
    }

    private func checksum(_ bytes: [UInt8]) -> UInt32 { ccrc32c(0, bytes, bytes.count) }

    @Test func theCheckValueOfTheCatalogueComesOut() {
        #expect(checksum(Array("123456789".utf8)) == 0xE306_9283)
        #expect(Self.reference("123456789".utf8) == 0xE306_9283)
    }

    /// RFC 3720 appendix B.4.
    @Test func thirtyTwoZerosAndOnesGiveTheKnownSums() {
        #expect(checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(checksum([UInt8](repeating: 255, count: 32)) == 0x62A8_AB43)
    }

    @Test func itIsRightAtEachLengthAndAlignment() {
        let bytes = (0..<2_048).map { UInt8(truncatingIfNeeded: $0 &* 131 &+ $0 >> 3) }
        bytes.withUnsafeBytes { all in
            for byteCount in 0...1_300 {
                let part = UnsafeRawBufferPointer(rebasing: all[(byteCount % 9)..<(byteCount % 9 + byteCount)])
                #expect(ccrc32c(0, part.baseAddress, byteCount) == Self.reference(part))
            }
        }
    }

    @Test func itContinuesFromAnEarlierSum() {
        let bytes = (0..<100).map { UInt8($0) }
        for split in 0...100 {
            let first = checksum(Array(bytes[..<split]))
            let rest = Array(bytes[split...])
            #expect(ccrc32c(first, rest, rest.count) == checksum(bytes))
        }
    }
}

extension VirtualTime {
    @Suite struct SCTPPackets {
        @Test func everyPacketCarriesARightChecksumAndKeepsToTheMTU() throws {
            let pair = SCTPPair()
            var packets: [[UInt8]] = []
            pair.onPacket = { packets.append($1) }
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            try pair.send([UInt8](repeating: 7, count: 5_000), on: client)
            pair.run(for: .seconds(1))
            #expect(packets.count > 10)
            for packet in packets {
                let sum = SCTPChecksum.reference(packet[..<8] + [0, 0, 0, 0] + packet[12...])
                #expect(withUnsafeBytes(of: sum.littleEndian) { Array($0) } == Array(packet[8..<12]))
            }
            #expect(pair.longestPacketByteCount == 1_160)
        }
    }
}
