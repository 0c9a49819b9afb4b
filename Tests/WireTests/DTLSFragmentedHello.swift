import DTLS
import SansIO
import Testing

/// What the tests need to know of records and handshake messages (RFC 6347 §4.1, §4.2.2).
enum DTLSRecords {
    static let recordHeader = 13
    static let messageHeader = 12

    static func record(type: UInt8 = 22, epoch: UInt16 = 0, sequence: UInt64, _ body: [UInt8]) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(type)
        writer.write(UInt16(0xFEFD))
        writer.write(UInt64(epoch) << 48 | sequence)
        writer.write(UInt16(body.count))
        writer.write(body)
        return writer.bytes
    }

    /// One fragment of a handshake message, in a record of its own.
    static func fragment(
        messageType: UInt8,
        body: [UInt8],
        range: Range<Int>,
        sequence: UInt64,
        messageSequence: UInt16 = 0
    ) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(messageType)
        writer.writeUInt24(UInt32(body.count))
        writer.write(messageSequence)
        writer.writeUInt24(UInt32(range.lowerBound))
        writer.writeUInt24(UInt32(range.count))
        writer.write(body[range])
        return record(sequence: sequence, writer.bytes)
    }

    /// The records of a datagram.
    static func records(_ datagram: [UInt8]) -> [[UInt8]] {
        var records: [[UInt8]] = []
        var rest = datagram[...]
        while rest.count >= recordHeader {
            let start = rest.startIndex
            let length = recordHeader + (Int(rest[start + 11]) << 8 | Int(rest[start + 12]))
            guard rest.count >= length else { break }
            records.append(Array(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
        return records
    }

    /// The same record, `step` later in its epoch.
    static func renumbered(_ record: [UInt8], by step: UInt8) -> [UInt8] {
        var record = record
        record[10] += step
        return record
    }

    /// A hello as browsers send it: DTLS 1.3 and 1.2, and key shares for X25519MLKEM768 and X25519.
    static func browserHello(random: RandomSource) -> [UInt8] {
        func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
        func counted(_ body: [UInt8]) -> [UInt8] { [UInt8(body.count >> 8), UInt8(body.count & 255)] + body }
        func numbers(_ values: [UInt16]) -> [UInt8] { values.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] } }
        func entry(_ type: UInt16, _ body: [UInt8]) -> [UInt8] { numbers([type]) + counted(body) }
        let keyShares = entry(0x11EC, bytes(1216)) + entry(0x001D, bytes(32))
        let extensions: [[UInt8]] = [
            entry(0x0017, []), entry(0xFF01, [0]), entry(0x000A, counted(numbers([0x11EC, 0x001D, 0x0017, 0x0018]))),
            entry(0x000B, [1, 0]), entry(0x0023, []),
            entry(0x000D, counted(numbers([0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201]))),
            entry(0x000E, counted(numbers([7, 8, 1])) + [0]), entry(0x0033, counted(keyShares)),
            entry(0x002B, [4] + numbers([0xFEFC, 0xFEFD])),
        ]
        let ciphers: [UInt16] = [
            0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xCCA9, 0xCCA8, 0xC009, 0xC013, 0xC00A, 0xC014,
        ]
        return numbers([0xFEFD]) + bytes(32) + [0, 0] + counted(numbers(ciphers)) + [1, 0]
            + counted(extensions.flatMap { $0 })
    }
}

/// In which order the two fragments of a hello arrive.
enum FragmentOrder: CaseIterable {
    case inOrder, reversed, secondTwice, firstTwice, reversedSecondTwice

    func arrange(_ first: [UInt8], _ second: [UInt8]) -> [[UInt8]] {
        switch self {
        case .inOrder: [first, second]
        case .reversed: [second, first]
        case .secondTwice: [first, second, second]
        case .firstTwice: [first, first, second]
        case .reversedSecondTwice: [second, second, first]
        }
    }
}

extension VirtualTime {
    @Suite struct DTLSFragmentedHello {
        @Test(arguments: FragmentOrder.allCases)
        func `a browser's hello in two fragments is answered`(order: FragmentOrder) throws {
            let pair = try DTLSPair()
            pair.server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: pair.now)
            let hello = DTLSRecords.browserHello(random: RandomSource(seed: 3))
            #expect(hello.count > 1300)
            let cut = 1100
            let first = DTLSRecords.fragment(messageType: 1, body: hello, range: 0..<cut, sequence: 0)
            let second = DTLSRecords.fragment(messageType: 1, body: hello, range: cut..<hello.count, sequence: 1)
            let arriving = order.arrange(first, second)
            for datagram in arriving.dropLast() { pair.server.receive(datagram, at: pair.now) }
            if order == .inOrder || order == .reversed { #expect(pair.server.transmits.isEmpty) }
            pair.server.receive(arriving[arriving.count - 1], at: pair.now)

            let answer = try #require(pair.server.takeDatagrams().first)
            let serverHello = try #require(DTLSRecords.records(answer).first)
            #expect(serverHello[0] == 22)
            #expect(serverHello[13] == 2)
            #expect(Array(serverHello[25...26]) == [0xFE, 0xFD])
            // Behind version, random and the empty session id: the cipher suite.
            #expect(Array(serverHello[60...61]) == [0xC0, 0x2B])
            #expect(pair.server.transport.state == .connecting)
        }

        @Test func `a fragment that was lost comes with the next repetition`() throws {
            let pair = try DTLSPair()
            pair.server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: pair.now)
            let hello = DTLSRecords.browserHello(random: RandomSource(seed: 3))
            for (sequence, range) in [(1, 1100..<hello.count), (2, 0..<1100), (3, 1100..<hello.count)] {
                #expect(pair.server.transmits.isEmpty || sequence == 3)
                pair.server.receive(
                    DTLSRecords.fragment(messageType: 1, body: hello, range: range, sequence: UInt64(sequence)),
                    at: pair.now
                )
            }
            #expect(!pair.server.transmits.isEmpty)
        }

        @Test func `a fragmented hello that precedes start is kept`() throws {
            let pair = try DTLSPair()
            let hello = DTLSRecords.browserHello(random: RandomSource(seed: 3))
            pair.server.receive(
                DTLSRecords.fragment(messageType: 1, body: hello, range: 1000..<hello.count, sequence: 1),
                at: pair.now
            )
            pair.server.receive(
                DTLSRecords.fragment(messageType: 1, body: hello, range: 0..<1000, sequence: 0),
                at: pair.now
            )
            #expect(pair.server.transmits.isEmpty)
            pair.server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: pair.now)
            #expect(!pair.server.transmits.isEmpty)
            #expect(pair.server.transport.nextDeadline != nil)
        }

        @Test(arguments: FragmentOrder.allCases, [1, 60, 100])
        func `a handshake whose hello was split completes`(order: FragmentOrder, cut: Int) throws {
            let pair = try DTLSPair()
            pair.network = { role, burst, datagrams in
                guard role == .client else { return datagrams }
                return datagrams.flatMap { datagram -> [[UInt8]] in
                    let records = DTLSRecords.records(datagram)
                    guard burst == 0, let record = records.first else {
                        // The split made one record more, so later ones of the cleartext epoch move by one.
                        return [records.flatMap { $0[4] == 0 ? DTLSRecords.renumbered($0, by: 1) : $0 }]
                    }
                    let body = Array(record[(DTLSRecords.recordHeader + DTLSRecords.messageHeader)...])
                    return order.arrange(
                        DTLSRecords.fragment(messageType: 1, body: body, range: 0..<cut, sequence: 0),
                        DTLSRecords.fragment(messageType: 1, body: body, range: cut..<body.count, sequence: 1)
                    )
                }
            }
            pair.run()
            #expect(pair.areConnected)
            #expect(pair.client.connected?.keyingMaterial == pair.server.connected?.keyingMaterial)
            #expect(pair.server.transport.statistics.flightsRetransmitted == 0)
        }

        @Test(arguments: 1...100)
        func `fragments of any kind end in a state, never in a trap`(seed: UInt64) throws {
            let pair = try DTLSPair()
            pair.server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: pair.now)
            let random = RandomSource(seed: seed)
            let hello = DTLSRecords.browserHello(random: random)
            for sequence in 0..<UInt64(20) {
                let low = Int(random.next() % UInt64(hello.count))
                let high = low + Int(random.next() % UInt64(hello.count - low + 1))
                var datagram = DTLSRecords.fragment(
                    messageType: 1,
                    body: hello,
                    range: low..<high,
                    sequence: sequence,
                    messageSequence: UInt16(random.next() % 3)
                )
                if random.next() % 4 == 0 {
                    datagram[13 + Int(random.next() % 12)] = UInt8(truncatingIfNeeded: random.next())
                }
                pair.server.receive(datagram, at: pair.now)
            }
            pair.exchange()
            #expect(!pair.areConnected)
        }
    }
}
