import Glibc
import STUN
import SansIO
import Testing

/// The files of `Vectors/…`, found beside this source file.
enum STUNVectorFiles {
    static let directory = String(#filePath.dropLast("STUNVectors.swift".count)) + "Vectors/"

    static func bytes(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(directory + path, "rb"), "no file \(path)")
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
        return bytes
    }

    static func names(in folder: String) throws -> [String] {
        let stream = try #require(opendir(directory + folder), "no folder \(folder)")
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }
}

/// A message with its bytes.
///
/// Macros of the test library take no spans as arguments.
struct STUNReading {
    let bytes: [UInt8]
    let message: STUNMessage

    init(_ bytes: [UInt8]) throws(STUNError) {
        self.bytes = bytes
        message = try STUNMessage(bytes.span.bytes)
    }

    var errorCode: STUNErrorCode? { message.errorCode(in: bytes.span.bytes) }
    var errorReason: String? { message.errorReason(in: bytes.span.bytes) }
    func bytes(_ type: STUNAttributeType) -> [UInt8]? { message.bytes(type, in: bytes.span.bytes) }
    func text(_ type: STUNAttributeType) -> String? { message.text(type, in: bytes.span.bytes) }
    func uint32(_ type: STUNAttributeType) -> UInt32? { message.uint32(type, in: bytes.span.bytes) }
    func uint64(_ type: STUNAttributeType) -> UInt64? { message.uint64(type, in: bytes.span.bytes) }
    func address(_ type: STUNAttributeType) -> TransportAddress? { message.address(type, in: bytes.span.bytes) }
    func xorAddress(_ type: STUNAttributeType) -> TransportAddress? { message.xorAddress(type, in: bytes.span.bytes) }
    func isAuthentic(_ key: STUNKey) -> Bool { message.isAuthentic(bytes.span.bytes, key: key) }
}

/// RFC 5769 and messages of real agents.
@Suite struct STUNVectors {
    private let key = STUNKey(password: "VOkJxbRl1RmTxUk/WvJxBt")

    @Test func `The sample request of RFC 5769 §2.1 is read and authentic`() throws {
        let bytes = try STUNVectorFiles.bytes("STUN/rfc5769/2.1-sample-request.bin")
        let message = try STUNReading(bytes)
        #expect(message.message.type == STUNMessageType(.request, .binding))
        #expect(message.message.transactionID == STUNTransactionID(high: 0xb7e7_a701, low: 0xbc34_d686_fa87_dfae))
        #expect(message.text(.software) == "STUN test client")
        #expect(message.text(.username) == "evtj:h6vY")
        #expect(message.uint32(.priority) == 0x6e00_01ff)
        #expect(message.uint64(.iceControlled) == 0x932f_f9b1_5126_3b36)
        #expect(message.message.hasFingerprint)
        #expect(message.isAuthentic(key))
        #expect(!message.isAuthentic(STUNKey(password: "VOkJxbRl1RmTxUk/WvJxBu")))
    }

    @Test(arguments: [
        ("2.2-ipv4-response", "192.0.2.1"), ("2.3-ipv6-response", "2001:db8:1234:5678:11:2233:4455:6677"),
    ])
    func `The sample responses of RFC 5769 have the mapped address`(name: String, host: String) throws {
        let bytes = try STUNVectorFiles.bytes("STUN/rfc5769/\(name).bin")
        let message = try STUNReading(bytes)
        #expect(message.message.type == STUNMessageType(.success, .binding))
        #expect(message.text(.software) == "test vector")
        #expect(message.xorAddress(.xorMappedAddress) == TransportAddress(host, port: 32853))
        #expect(message.message.hasFingerprint)
        #expect(message.isAuthentic(key))
    }

    @Test func `The long-term request of RFC 5769 §2.4 is authentic`() throws {
        let bytes = try STUNVectorFiles.bytes("STUN/rfc5769/2.4-long-term-request.bin")
        let message = try STUNReading(bytes)
        let username = try #require(message.text(.username))
        #expect(username == "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}")
        #expect(message.text(.nonce) == "f//499k954d6OL34oL9FSTvy64sA")
        #expect(message.text(.realm) == "example.org")
        #expect(!message.message.hasFingerprint)
        let key = STUNKey(username: username, realm: "example.org", password: "TheMatrIX")
        #expect(message.isAuthentic(key))
    }

    @Test func `Checks of other agents are read`() throws {
        let bytes = try STUNVectorFiles.bytes("STUN/aioice/binding_request_ice_controlling.bin")
        let message = try STUNReading(bytes)
        #expect(message.text(.username) == "sw7YvCSbcVex3bhi:AYeZ")
        #expect(message.message.contains(.useCandidate))
        #expect(message.uint64(.iceControlling) == 0x527a_d2e0_d912_0891)
        #expect(message.message.hasIntegrity && message.message.hasFingerprint)
        #expect(message.message.unknownRequired { _ in false }.map(\.rawValue) == [0x06, 0x25, 0x24])

        let plain = try STUNVectorFiles.bytes("STUN/aioice/binding_response.bin")
        let response = try STUNReading(plain)
        #expect(response.message.type == STUNMessageType(.success, .binding))
        #expect(response.xorAddress(.xorMappedAddress) == TransportAddress("80.200.136.90", port: 53054))
        #expect(response.address(.mappedAddress) == TransportAddress("80.200.136.90", port: 53054))
    }
}

@Suite struct STUNWriting {
    @Test func `What was written is read back`() throws {
        let random = RandomSource(seed: 1)
        for host in ["192.0.2.7", "2001:db8::7"] {
            let id = STUNTransactionID(random: random)
            let address = try #require(TransportAddress(host, port: 4711))
            var writer = STUNMessageWriter(.success, .binding, id)
            writer.add(.xorMappedAddress, xor: address)
            writer.add(.username, text: "abcde")
            writer.add(.priority, UInt32(7))
            writer.add(.iceControlled, UInt64.max)
            writer.addFlag(.useCandidate)
            writer.add(STUNErrorCode.roleConflict)
            writer.add(unknown: [.realm, .nonce, .data])
            let key = STUNKey(password: "secret")
            let bytes = writer.finish(key: key)
            let message = try STUNReading(bytes)
            #expect(message.message.transactionID == id)
            #expect(message.xorAddress(.xorMappedAddress) == address)
            #expect(message.text(.username) == "abcde")
            #expect(message.uint32(.priority) == 7)
            #expect(message.uint64(.iceControlled) == .max)
            #expect(message.message.contains(.useCandidate))
            #expect(message.errorCode == .roleConflict)
            #expect(message.bytes(.unknownAttributes) == [0, 0x14, 0, 0x15, 0, 0x13])
            #expect(message.message.hasFingerprint)
            #expect(message.isAuthentic(key))
        }
    }

    @Test func `Every class and method survives the interleaving of their bits`() {
        for wire in UInt16(0)...0x3FFF {
            #expect(STUNMessageType(wireValue: wire)?.wireValue == wire)
        }
        #expect(STUNMessageType(wireValue: 0x4001) == nil)
        #expect(STUNMessageType(.success, .binding).wireValue == 0x0101)
        #expect(STUNMessageType(.failure, .allocate).wireValue == 0x0113)
    }

    @Test func `CRC-32 has the check value of its definition`() {
        let digits = Array("123456789".utf8)
        #expect(CRC32.checksum(of: digits.span.bytes, first: 9) == 0xCBF4_3926)
    }

    @Test func `A transaction doubles its interval up to the longest and gives up`() {
        let start = Instant(nanoseconds: 0)
        var transaction = STUNTransaction(
            id: STUNTransactionID(high: 0, low: 0),
            message: [],
            initialInterval: .milliseconds(100),
            maximumInterval: .milliseconds(400),
            timeout: .seconds(2),
            at: start
        )
        var sent: [Int64] = []
        loop: while true {
            let now = transaction.nextInstant
            switch transaction.handleTimeout(at: now) {
            case .none: Issue.record("nothing was due at \(now)")
            case .retransmit: sent.append((now - start).wholeMilliseconds)
            case .giveUp:
                #expect(now == start + .seconds(2))
                break loop
            }
        }
        #expect(sent == [100, 300, 700, 1100, 1500, 1900])
    }
}
