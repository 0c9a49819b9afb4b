import ICE
import SansIO
import Testing

@Suite struct ICECandidateLines {
    @Test func `Every candidate line of the collected descriptions is read and written back`() throws {
        let text = String(decoding: try STUNVectorFiles.bytes("ICE/candidates.txt"), as: UTF8.self)
        let lines = text.split(separator: "\n")
        #expect(lines.count == 82)
        for line in lines {
            let candidate = try ICECandidate(attributeValue: line)
            let written = candidate.attributeValue
            #expect(try ICECandidate(attributeValue: written) == candidate, "\(line)")
            // The line begins alike but for the transport's case.
            let expected = line.dropFirst(2).split(separator: " ").prefix(8)
            #expect(written.split(separator: " ").prefix(8).map { $0.lowercased() } == expected.map { $0.lowercased() })
        }
    }

    @Test func `All fields are read`() throws {
        let candidate = try ICECandidate(
            attributeValue:
                "candidate:a+/9 2 TCP 4294967295 2001:db8::9 9 typ relay raddr 192.0.2.1 rport 77 tcptype passive generation 0 ufrag Xy/+ network-id 3"
        )
        #expect(candidate.foundation == "a+/9")
        #expect(candidate.component == 2)
        #expect(candidate.transport == .tcp)
        #expect(candidate.priority == .max)
        #expect(candidate.address == TransportAddress("2001:db8::9", port: 9))
        #expect(candidate.kind == .relay)
        #expect(candidate.relatedAddress == TransportAddress("192.0.2.1", port: 77))
        #expect(candidate.tcpType == .passive)
        #expect(candidate.usernameFragment == "Xy/+")
        #expect(
            candidate.attributeValue
                == "candidate:a+/9 2 tcp 4294967295 2001:db8::9 9 typ relay raddr 192.0.2.1 rport 77 tcptype passive ufrag Xy/+"
        )
    }

    @Test func `A host name is told to the caller`() {
        #expect(throws: ICEError.hostname("0a1b2c3d-1111-4222-8333-444455556666.local")) {
            try ICECandidate(
                attributeValue:
                    "a=candidate:1 1 udp 2122260223 0a1b2c3d-1111-4222-8333-444455556666.local 5000 typ host"
            )
        }
    }

    @Test(arguments: [
        ("", ICECandidateField.line), ("a=", .line), ("candidate", .line), ("candidate:1\u{0} 1", .line),
        ("kandidat:1 1 udp", .line),
        ("candidate:", .foundation),
        ("candidate:\(String(repeating: "f", count: 33)) 1 udp 1 192.0.2.1 1 typ host", .foundation),
        ("candidate:1 0 udp 1 192.0.2.1 1 typ host", .component),
        ("candidate:1 257 udp 1 192.0.2.1 1 typ host", .component),
        ("candidate:1 1 sctp 1 192.0.2.1 1 typ host", .transport),
        ("candidate:1 1 udp -1 192.0.2.1 1 typ host", .priority),
        ("candidate:1 1 udp 4294967296 192.0.2.1 1 typ host", .priority), ("candidate:1 1 udp 1", .address),
        ("candidate:1 1 udp 1 192.0.2.256 1 typ host", .address), ("candidate:1 1 udp 1 <script> 1 typ host", .address),
        ("candidate:1 1 udp 1 fe80::1%eth0 1 typ host", .address),
        ("candidate:1 1 udp 1 192.0.2.1 65536 typ host", .port),
        ("candidate:1 1 udp 1 192.0.2.1 1 typ", .kind), ("candidate:1 1 udp 1 192.0.2.1 1 typ guest", .kind),
        ("candidate:1 1 udp 1 192.0.2.1 1 host", .kind),
        ("candidate:1 1 udp 1 192.0.2.1 1 typ srflx raddr 10.0.0.1 rport x", .relatedAddress),
        ("candidate:1 1 udp 1 192.0.2.1 1 typ host \(String(repeating: "x ", count: 600))", .line),
    ])
    func `A wrong field has its error`(line: String, field: ICECandidateField) {
        #expect(throws: ICEError.malformed(field: field)) { try ICECandidate(attributeValue: line) }
    }

    @Test func `A host name takes the address that it was looked up to be`() throws {
        let line = "candidate:1 1 udp 2113937151 0b1ff4cd-2a83-4b5e-a1d2-7f3e.local 54321 typ host generation 0\r\n"
        #expect(throws: ICEError.hostname("0b1ff4cd-2a83-4b5e-a1d2-7f3e.local")) {
            try ICECandidate(attributeValue: line)
        }
        let address = try #require(IPAddress("192.0.2.7"))
        let candidate = try ICECandidate(attributeValue: line, resolved: address)
        #expect(candidate.address == TransportAddress(address, port: 54321))
        // An address in its place is not replaced.
        let plain = try ICECandidate(attributeValue: "candidate:1 1 udp 1 192.0.2.1 1 typ host", resolved: address)
        #expect(plain.address.ip.description == "192.0.2.1")
    }

    @Test func `Random changes of lines never trap`() throws {
        let random = RandomSource(seed: 7)
        let text = String(decoding: try STUNVectorFiles.bytes("ICE/candidates.txt"), as: UTF8.self)
        let lines = text.split(separator: "\n").map { Array($0.utf8) }
        var readCount = 0
        for _ in 0..<5000 {
            var line = lines[Int(random.next() % UInt64(lines.count))]
            for _ in 0..<(1 + random.next() % 4) {
                let position = Int(random.next() % UInt64(line.count))
                line[position] = UInt8(truncatingIfNeeded: random.next())
            }
            if (try? ICECandidate(attributeValue: String(decoding: line, as: UTF8.self))) != nil { readCount += 1 }
        }
        #expect(readCount > 0)
    }

    @Test func `Priorities follow the formulas`() {
        #expect(ICEPriority.candidate(.host, localPreference: 65_535) == 2_130_706_431)
        #expect(ICEPriority.candidate(.srflx, localPreference: 65_535) == 1_694_498_815)
        #expect(ICEPriority.candidate(.relay, localPreference: 0) == 255)
        #expect(ICEPriority.pair(controlling: 5, controlled: 3) == 3 << 32 + 10 + 1)
        #expect(ICEPriority.pair(controlling: 3, controlled: 5) == 3 << 32 + 10)
        #expect(
            ICEPriority.pair(controlling: .max, controlled: .max) == UInt64(Int32.max) << 32 + 2 * UInt64(Int32.max)
        )
    }

    @Test func `Families alternate, loopback comes last`() throws {
        let hosts = ["192.0.2.1", "192.0.2.2", "127.0.0.1", "2001:db8::1", "fe80::1"].compactMap { IPAddress($0) }
        let preferences = ICEPriority.interleavedPreferences(hosts)
        let order = zip(hosts, preferences).sorted { $0.1 > $1.1 }.map(\.0.description)
        #expect(order == ["2001:db8::1", "192.0.2.1", "192.0.2.2", "fe80::1", "127.0.0.1"])
        #expect(Set(preferences).count == 5)
    }
}
