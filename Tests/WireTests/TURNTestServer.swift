import ICE
import STUN
import SansIO
import Testing

/// A client and a scripted server without delay between them, in virtual time.
final class TURNTestServer {
    /// What the server does with a request.
    enum Reply {
        /// What a server does.
        case ordinary
        case nothing
        /// Signed if the request was.
        case failure(STUNErrorCode)
        case bytes([UInt8])
    }

    static let address = TransportAddress(IPAddress(v4: 0xCB00_7109), port: 3478)
    static let port = PortID(rawValue: 7)
    static let relayed = TransportAddress(IPAddress(v4: 0xCB00_710A), port: 50_000)
    static let mapped = TransportAddress(IPAddress(v4: 0xC633_6401), port: 5000)

    let transmits = TransmitQueue()
    let client: TURNClient
    let transport: TURNTransport
    let start = Instant(nanoseconds: 1_000_000_000_000)
    private(set) var now = Instant(nanoseconds: 1_000_000_000_000)

    var username = "user"
    var password = "secret"
    var realm = "example.org"
    var nonce = "nonce-1"
    var wantsCredentials = true
    var lifetime: UInt32 = 600
    var relayed = TURNTestServer.relayed
    /// Decides before the ordinary answer.
    var script: (STUNReading) -> Reply = { _ in .ordinary }

    /// Requests that arrived, with the time since the start in milliseconds.
    private(set) var requests: [(time: Int64, reading: STUNReading)] = []
    /// Everything else that arrived.
    private(set) var others: [[UInt8]] = []
    private(set) var events: [TURNEvent] = []
    /// Datagrams of peers that the client handed on.
    private(set) var received: [(peer: TransportAddress, bytes: [UInt8])] = []
    /// What the client made of the last datagram.
    private(set) var lastInput: TURNInput?

    init(
        _ transport: TURNTransport = .datagram,
        credentials: TURNCredentials? = TURNCredentials(username: "user", password: "secret"),
        configuration: TURNConfiguration = TURNConfiguration()
    ) {
        self.transport = transport
        client = TURNClient(
            configuration: configuration,
            server: TransmitPath(port: Self.port, remote: Self.address),
            transport: transport,
            credentials: credentials,
            transmits: transmits,
            random: RandomSource(seed: 1)
        )
    }

    /// A client with its allocation.
    static func allocated(
        _ transport: TURNTransport = .datagram,
        configuration: TURNConfiguration = TURNConfiguration()
    ) -> TURNTestServer {
        let server = TURNTestServer(transport, configuration: configuration)
        server.client.allocate(at: server.now)
        server.pump()
        server.forget()
        return server
    }

    var key: STUNKey { STUNKey(username: username, realm: realm, password: password) }

    func forget() {
        requests = []
        others = []
        events = []
        received = []
    }

    func requests(_ method: STUNMethod) -> [STUNReading] {
        requests.map(\.reading).filter { $0.message.method == method }
    }

    /// Times since the start, in seconds, at which requests of a method arrived.
    func times(_ method: STUNMethod) -> [Double] {
        requests.filter { $0.reading.message.method == method }.map { Double($0.time) / 1000 }
    }

    // MARK: Running

    /// Carries messages to and fro until there are none.
    func pump() {
        for _ in 0..<1000 {
            var outgoing: [[UInt8]] = []
            transmits.drain { path, bytes in
                #expect(path == TransmitPath(port: Self.port, remote: Self.address))
                outgoing.append(Array(bytes))
            }
            while let event = client.nextEvent() { events.append(event) }
            if let deadline = client.nextDeadline, deadline.instant <= now {
                Issue.record("deadline \(deadline.reason) is not in the future")
            }
            if outgoing.isEmpty { return }
            for bytes in outgoing { take(bytes) }
        }
        Issue.record("client and server never come to rest")
    }

    /// Lets time pass.
    func run(_ duration: Duration, until condition: () -> Bool = { false }) {
        let end = now + duration
        var stepCount = 0
        pump()
        while !condition(), let next = client.nextDeadline?.instant, next <= end {
            stepCount += 1
            if stepCount > 20_000 {
                Issue.record("the client does not come to rest: \(client.nextDeadline?.reason ?? "")")
                return
            }
            now = max(now, next)
            client.handleTimeout(at: now)
            pump()
        }
        if !condition() { now = end }
    }

    /// Gives the client a message as if from the server.
    func deliver(_ bytes: [UInt8], from source: TransportAddress = TURNTestServer.address, on port: PortID = port) {
        switch transport {
        case .datagram:
            let input = client.receive(bytes.span.bytes, from: source, on: port, at: now)
            lastInput = input
            if case .data(let peer, let range) = input { received.append((peer, Array(bytes[range]))) }
        case .stream:
            client.receive(stream: bytes.span.bytes, at: now) { peer, datagram in
                received.append((peer, datagram.array()))
            }
        }
    }

    @discardableResult
    func send(_ bytes: [UInt8], to peer: TransportAddress) -> TURNSendResult {
        client.send(bytes.span.bytes, to: peer, at: now)
    }

    func allocate() {
        client.allocate(at: now)
        pump()
    }

    func bindChannel(to peer: TransportAddress) {
        client.bindChannel(to: peer, at: now)
        pump()
    }

    // MARK: The server

    private func take(_ bytes: [UInt8]) {
        guard let reading = try? STUNReading(bytes), reading.message.messageClass == .request else {
            others.append(bytes)
            return
        }
        requests.append(((now - start).wholeMilliseconds, reading))
        switch script(reading) {
        case .nothing: break
        case .bytes(let bytes): deliver(bytes)
        case .failure(let code): deliver(failure(code, to: reading))
        case .ordinary: deliver(answer(reading))
        }
    }

    private func answer(_ request: STUNReading) -> [UInt8] {
        if wantsCredentials {
            guard let name = request.text(.username), request.message.hasIntegrity else {
                return failure(.unauthenticated, to: request)
            }
            guard request.text(.nonce) == nonce else { return failure(.staleNonce, to: request) }
            guard name == username, request.isAuthentic(key) else { return failure(.unauthenticated, to: request) }
        }
        return success(request)
    }

    func success(_ request: STUNReading, _ change: (inout STUNMessageWriter) -> Void = { _ in }) -> [UInt8] {
        var writer = STUNMessageWriter(.success, request.message.method, request.message.transactionID)
        switch request.message.method {
        case .allocate:
            writer.add(.xorRelayedAddress, xor: relayed)
            writer.add(.xorMappedAddress, xor: Self.mapped)
            writer.add(.lifetime, lifetime)
        case .refresh: writer.add(.lifetime, request.uint32(.lifetime) == 0 ? 0 : lifetime)
        default: break
        }
        change(&writer)
        return writer.finish(key: wantsCredentials ? key : nil)
    }

    /// An error response: 401 and 438 with realm and nonce and without integrity, as the RFC has them.
    func failure(
        _ code: STUNErrorCode,
        to request: STUNReading,
        _ change: (inout STUNMessageWriter) -> Void = { _ in }
    ) -> [UInt8] {
        var writer = STUNMessageWriter(.failure, request.message.method, request.message.transactionID)
        writer.add(code)
        change(&writer)
        if code == .unauthenticated || code == .staleNonce {
            writer.add(.realm, text: realm)
            writer.add(.nonce, text: nonce)
            return writer.finish()
        }
        return writer.finish(key: request.message.hasIntegrity ? key : nil)
    }

    /// A peer's datagram in a Data indication.
    static func dataIndication(_ bytes: [UInt8], from peer: TransportAddress) -> [UInt8] {
        var writer = STUNMessageWriter(.indication, .data, STUNTransactionID(high: 1, low: 2))
        writer.add(.xorPeerAddress, xor: peer)
        writer.add(.data, bytes)
        return writer.finish(fingerprint: false)
    }

    static func channelData(_ number: UInt16, _ bytes: [UInt8]) -> [UInt8] {
        [UInt8(number >> 8), UInt8(number & 0xFF), UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes
    }
}
