import STUN
import SansIO
import TURNServer
import Testing

/// A server in virtual time, whose sockets are lists.
final class ServerTester {
    static let listener = PortID(rawValue: 1)
    static let listeningPort: UInt16 = 3478
    static let realm = "example.org"
    /// What relays are bound to, and what clients are told.
    static let local = IPAddress(v4: 0x0A00_0009)
    static let told = IPAddress(v4: 0xCB00_7109)
    static let toldIPv6 = IPAddress(v6High: 0x2600_0000_0000_0000, v6Low: 9)
    static let unixStart: Int64 = 1_800_000_000

    let secret = TURNSharedSecret("north")
    let server: TURNServer
    let transmits = TransmitQueue()
    private(set) var now = Instant(nanoseconds: 5_000_000_000_000)
    /// Whether relays are opened at once, never, or refused.
    enum Opening { case atOnce, never, refused }
    var opening = Opening.atOnce
    private(set) var relays: [PortID: TransportAddress] = [:]
    private(set) var openedCount = 0
    private(set) var closedStreams: [PortID] = []
    private(set) var events: [TURNServerEvent] = []
    /// What left, since it was taken last.
    private var sent: [(path: TransmitPath, bytes: [UInt8])] = []
    private var nextRelayPort: UInt16 = 50_000

    init(
        policy: PeerAddressPolicy = PeerAddressPolicy(),
        relays: [TURNRelayAddress]? = nil,
        _ change: (inout TURNServerLimits) -> Void = { _ in }
    ) {
        var configuration = TURNServerConfiguration(
            realm: Self.realm,
            secret: secret,
            relays: relays ?? [
                TURNRelayAddress(local: Self.local, told: Self.told), TURNRelayAddress(local: Self.toldIPv6),
            ],
            policy: policy
        )
        change(&configuration.limits)
        server = TURNServer(configuration: configuration, transmits: transmits, random: RandomSource(seed: 1))
        server.addListener(on: Self.listeningPort)
        server.setWallClock(unixSeconds: Self.unixStart, at: now)
    }

    func pass(_ duration: Duration) {
        let end = now + duration
        while let deadline = server.nextDeadline?.instant, deadline <= end {
            now = max(now, deadline)
            server.handleTimeout(at: now)
            drain()
            #expect(server.nextDeadline.map { $0.instant > now } ?? true, "a deadline lies in the future")
        }
        now = end
        server.handleTimeout(at: now)
        drain()
    }

    func deliver(_ bytes: [UInt8], from remote: TransportAddress, on port: PortID = ServerTester.listener) {
        server.receive(bytes.span.bytes, from: remote, on: port, at: now)
        drain()
    }

    func openStream(_ port: PortID, from remote: TransportAddress) -> Bool {
        defer { drain() }
        return server.openStream(port, from: remote, at: now)
    }

    func deliver(stream bytes: [UInt8], on port: PortID) {
        server.receive(stream: bytes.span.bytes, on: port, at: now)
        drain()
    }

    func closeStream(_ port: PortID) {
        server.closeStream(port, at: now)
        drain()
    }

    func openRelays() {
        for (relay, address) in relays { server.didOpenRelay(relay, at: address, now: now) }
        drain()
    }

    /// What left meanwhile.
    func take() -> [(path: TransmitPath, bytes: [UInt8])] {
        defer { sent = [] }
        return sent
    }

    func takeEvents() -> [TURNServerEvent] {
        defer { events = [] }
        return events
    }

    private func drain() {
        collect()
        while let command = server.nextCommand() {
            switch command {
            case .openRelay(let relay, let ip, let isEven):
                if isEven { nextRelayPort += nextRelayPort % 2 }
                let address = TransportAddress(ip, port: nextRelayPort)
                nextRelayPort += 1
                openedCount += 1
                switch opening {
                case .atOnce:
                    relays[relay] = address
                    server.didOpenRelay(relay, at: address, now: now)
                case .never: relays[relay] = address
                case .refused: server.relayFailed(relay, at: now)
                }
            case .closeRelay(let relay): relays[relay] = nil
            case .closeStream(let stream):
                closedStreams.append(stream)
                server.closeStream(stream, at: now)
            }
        }
        collect()
        while let event = server.nextEvent() { events.append(event) }
    }

    private func collect() { transmits.drain { sent.append(($0, Array($1))) } }
}

/// A message that came.
struct Reply {
    let bytes: [UInt8]
    let message: STUNMessage

    init(_ bytes: [UInt8]) throws {
        self.bytes = bytes
        message = try STUNMessage(bytes.span.bytes)
    }

    var isSuccess: Bool { message.messageClass == .success }
    /// Of an error response.
    var code: UInt16? { message.messageClass == .failure ? message.errorCode(in: bytes.span.bytes)?.rawValue : nil }
    func bytes(_ type: STUNAttributeType) -> [UInt8]? { message.bytes(type, in: bytes.span.bytes) }
    func uint32(_ type: STUNAttributeType) -> UInt32? { message.uint32(type, in: bytes.span.bytes) }
    func address(_ type: STUNAttributeType) -> TransportAddress? { message.xorAddress(type, in: bytes.span.bytes) }
    func isAuthentic(_ key: STUNKey) -> Bool { message.isAuthentic(bytes.span.bytes, key: key) }
}

/// A client that writes its messages itself.
final class TestClient {
    let tester: ServerTester
    let address: TransportAddress
    /// Nil for UDP.
    let stream: PortID?
    var username: String
    var password: String
    var realm = ServerTester.realm
    var nonce: [UInt8] = []
    private(set) var relayed: TransportAddress?
    private var nextID: UInt64 = 1

    init(
        _ tester: ServerTester,
        _ address: String = "198.51.100.1",
        port: UInt16 = 5000,
        name: String = "alice",
        stream: Int? = nil,
        expiresIn seconds: Int64 = 86_400
    ) throws {
        self.tester = tester
        self.address = TransportAddress(try #require(IPAddress(address)), port: port)
        self.stream = stream.map { PortID(rawValue: $0) }
        let credentials = tester.secret.credentials(for: name, expiry: ServerTester.unixStart + seconds)
        username = credentials.username
        password = credentials.password
        if let stream = self.stream { try #require(tester.openStream(stream, from: self.address)) }
    }

    var key: STUNKey { STUNKey(username: username, realm: realm, password: password) }
    var path: TransmitPath { TransmitPath(port: stream ?? ServerTester.listener, remote: address) }

    func makeID() -> STUNTransactionID {
        nextID += 1
        return STUNTransactionID(high: UInt32(address.port), low: nextID)
    }

    func send(_ bytes: [UInt8]) {
        if let stream { tester.deliver(stream: bytes, on: stream) } else { tester.deliver(bytes, from: address) }
    }

    func message(
        _ method: STUNMethod,
        id: STUNTransactionID? = nil,
        isSigned: Bool = true,
        _ attributes: (inout STUNMessageWriter) -> Void = { _ in }
    ) -> [UInt8] {
        var writer = STUNMessageWriter(.request, method, id ?? makeID())
        attributes(&writer)
        guard isSigned else { return writer.finish(fingerprint: false) }
        writer.add(.username, text: username)
        writer.add(.realm, text: realm)
        writer.add(.nonce, nonce)
        return writer.finish(key: key, fingerprint: false)
    }

    /// What the server answers; nil if it does not.
    func ask(
        _ method: STUNMethod,
        id: STUNTransactionID? = nil,
        isSigned: Bool = true,
        _ attributes: (inout STUNMessageWriter) -> Void = { _ in }
    ) throws -> Reply? {
        try ask(message(method, id: id, isSigned: isSigned, attributes))
    }

    func ask(_ bytes: [UInt8]) throws -> Reply? {
        _ = tester.take()
        send(bytes)
        let sent = tester.take()
        #expect(sent.count <= 1 && sent.allSatisfy { $0.path == path }, "an answer goes to who asked, once")
        return try sent.first.map { try Reply($0.bytes) }
    }

    /// Asks for the nonce.
    func meet() throws {
        let reply = try #require(try ask(.allocate, isSigned: false))
        nonce = try #require(reply.bytes(.nonce))
    }

    static func udp(_ writer: inout STUNMessageWriter) { writer.add(.requestedTransport, UInt32(17) << 24) }

    /// The relayed address.
    @discardableResult
    func allocate(isIPv6: Bool = false) throws -> TransportAddress {
        if nonce.isEmpty { try meet() }
        let reply = try #require(
            try ask(.allocate) {
                Self.udp(&$0)
                if isIPv6 { $0.add(.requestedAddressFamily, UInt32(2) << 24) }
            }
        )
        #expect(reply.isSuccess, "\(reply.code ?? 0)")
        let address = try #require(reply.address(.xorRelayedAddress) as TransportAddress?)
        relayed = address
        return address
    }

    func permit(_ peers: String...) throws -> Reply? { try permit(peers.map { try #require(IPAddress($0)) }) }

    func permit(_ ips: [IPAddress]) throws -> Reply? {
        try ask(.createPermission) { for ip in ips { $0.add(.xorPeerAddress, xor: TransportAddress(ip, port: 9)) } }
    }

    func bind(_ number: UInt16, to peer: TransportAddress) throws -> Reply? {
        try ask(.channelBind) {
            $0.add(.channelNumber, UInt32(number) << 16)
            $0.add(.xorPeerAddress, xor: peer)
        }
    }

    func sendIndication(_ data: [UInt8], to peer: TransportAddress) {
        var writer = STUNMessageWriter(.indication, .send, makeID())
        writer.add(.xorPeerAddress, xor: peer)
        writer.add(.data, data)
        send(writer.finish(fingerprint: false))
    }

    func sendChannelData(_ number: UInt16, _ data: [UInt8]) {
        send(Self.channelData(number, data, isPadded: stream != nil))
    }

    static func channelData(_ number: UInt16, _ data: [UInt8], isPadded: Bool) -> [UInt8] {
        var bytes = [UInt8(number >> 8), UInt8(number & 255), UInt8(data.count >> 8), UInt8(data.count & 255)] + data
        while isPadded, bytes.count % 4 != 0 { bytes.append(0) }
        return bytes
    }

    /// The relay's socket.
    var relay: PortID? { tester.relays.first { $0.value.port == relayed?.port }?.key }
}

extension TransportAddress {
    init(text: String, _ port: UInt16) throws { self.init(try #require(IPAddress(text)), port: port) }
}
