import SansIO
import SimulatedClock

@testable import SCTP

/// Two tables joined by a link that delays, loses, doubles and reorders, in virtual time.
final class SCTPPair {
    let client: DataChannelTable
    let server: DataChannelTable
    private(set) var now: Instant
    private let random: RandomSource
    private let clientConfiguration: SCTPConfiguration
    private let serverConfiguration: SCTPConfiguration
    private var inFlight: [Flight] = []
    private var sequence = 0
    var link: Link

    /// What each side said.
    var clientEvents: [DataChannelEvent] = []
    var serverEvents: [DataChannelEvent] = []
    /// Packets that each side handed out.
    private(set) var clientPacketCount = 0
    private(set) var serverPacketCount = 0
    private(set) var longestPacketByteCount = 0
    /// Packets that were too long for the link.
    private(set) var lostAsTooLong: [Fragmentation: Int] = [:]
    private(set) var cutUpCount = 0
    /// Packets that found the link's queue full.
    private(set) var overrunCount = 0
    private var lineFree: [Bool: Instant] = [:]
    /// Calls of `handleTimeout`.
    private(set) var wakeUpCount = 0
    /// Sees, and may change, each packet that is handed out; an empty one is lost.
    var onPacket: ((_ fromClient: Bool, _ packet: inout [UInt8]) -> Void)?

    struct Link {
        var delay = Duration.milliseconds(5)
        /// Up to so much more delay for each packet: they overtake one another.
        var jitter = Duration.zero
        var loss = 0.0
        var duplication = 0.0
        /// Bytes a second, each way, behind a queue of so many bytes; what finds it full is lost.
        var rate = Double.infinity
        var queue = Int.max
        /// Longer packets are lost, unless they may be cut up.
        var longestPacket = Int.max
    }

    private struct Flight {
        var arrival: Instant
        var sequence: Int
        var toServer: Bool
        var packet: [UInt8]
    }

    init(
        seed: UInt64 = 1,
        link: Link = Link(),
        client: SCTPConfiguration = SCTPConfiguration(),
        server: SCTPConfiguration = SCTPConfiguration(),
        path: SCTPPath = .unknown
    ) {
        self.client = DataChannelTable(configuration: client)
        self.server = DataChannelTable(configuration: server)
        self.client.setPath(path, recordSizeLimit: 16_384)
        self.server.setPath(path, recordSizeLimit: 16_384)
        clientConfiguration = client
        serverConfiguration = server
        self.link = link
        random = RandomSource(seed: seed)
        now = Instant(nanoseconds: 1_700_000_000_000_000_000)
        simulated_clock_set_us(now.nanoseconds / 1_000)
        SCTPStack.shared.resetClock()
    }

    deinit {
        client.shutdown(at: now)
        server.shutdown(at: now)
        SCTPStack.shared.resetClock()
        simulated_clock_set_us(-1)
    }

    func start() {
        client.start(
            dtlsRole: true,
            remotePort: serverConfiguration.localPort,
            remoteMaxMessageSize: serverConfiguration.maxMessageSize,
            at: now
        )
        server.start(
            dtlsRole: false,
            remotePort: clientConfiguration.localPort,
            remoteMaxMessageSize: clientConfiguration.maxMessageSize,
            at: now
        )
        drain()
    }

    /// Starts and runs until both are connected.
    func connect() -> Bool {
        start()
        return run(for: .seconds(60)) { $0.client.isConnected && $0.server.isConnected }
    }

    /// Lets virtual time pass until `condition` holds.
    /// - Returns: whether it came to hold within `duration`.
    @discardableResult
    func run(for duration: Duration, until condition: (SCTPPair) -> Bool = { _ in false }) -> Bool {
        let end = now + duration
        drain()
        while !condition(self) {
            var next = inFlight.first?.arrival
            for deadline in [client.nextDeadline, server.nextDeadline] {
                guard let deadline else { continue }
                next = min(next ?? deadline.instant, deadline.instant)
            }
            guard let next, next <= end else {
                advance(to: end)
                return condition(self)
            }
            advance(to: max(next, now))
            deliverDue()
            for table in [client, server] {
                guard let deadline = table.nextDeadline, deadline.instant <= now else { continue }
                wakeUpCount += 1
                table.handleTimeout(at: now)
            }
            drain()
        }
        return true
    }

    /// Moves the clock on and does nothing else.
    func advance(to instant: Instant) {
        now = instant
        simulated_clock_set_us(now.nanoseconds / 1_000)
    }

    private func deliverDue() {
        var count = 0
        while count < inFlight.count, inFlight[count].arrival <= now {
            let flight = inFlight[count]
            (flight.toServer ? server : client).receive(flight.packet.span.bytes, at: now)
            count += 1
        }
        inFlight.removeFirst(count)
    }

    /// Takes what both sides have to say and send.
    func drain() {
        client.drainPackets { packet, fragmentation in
            clientPacketCount += 1
            put(Array(packet), toServer: true, fragmentation)
        }
        server.drainPackets { packet, fragmentation in
            serverPacketCount += 1
            put(Array(packet), toServer: false, fragmentation)
        }
        while let event = client.nextEvent() { clientEvents.append(event) }
        while let event = server.nextEvent() { serverEvents.append(event) }
    }

    private func put(_ packet: [UInt8], toServer: Bool, _ fragmentation: Fragmentation) {
        // Probes may be as long as they like.
        if fragmentation != .forbidden { longestPacketByteCount = max(longestPacketByteCount, packet.count) }
        if packet.count > link.longestPacket {
            guard fragmentation == .allowed else {
                lostAsTooLong[fragmentation, default: 0] += 1
                return
            }
            cutUpCount += 1
        }
        var packet = packet
        onPacket?(toServer, &packet)
        guard !packet.isEmpty else { return }
        for _ in 0..<(chance(link.duplication) ? 2 : 1) {
            guard !chance(link.loss) else { continue }
            var arrival = now + link.delay
            if link.rate.isFinite {
                let free = max(lineFree[toServer] ?? now, now)
                guard (free - now) / .seconds(1) * link.rate < Double(link.queue) else {
                    overrunCount += 1
                    continue
                }
                let end = free + .seconds(1) * (Double(packet.count) / link.rate)
                lineFree[toServer] = end
                arrival = end + link.delay
            }
            if link.jitter > .zero { arrival = arrival + link.jitter * Double.random(in: 0..<1, using: &generator) }
            sequence += 1
            let flight = Flight(arrival: arrival, sequence: sequence, toServer: toServer, packet: packet)
            // Nearly always at the end.
            var index = inFlight.count
            while index > 0, inFlight[index - 1].arrival > arrival { index -= 1 }
            inFlight.insert(flight, at: index)
        }
    }

    private func chance(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &generator) < probability
    }

    private var generator: RandomSource {
        get { random }
        set {}
    }

    // MARK: For tests' convenience

    /// Sends so many messages of 64 KiB from the client, waiting for room.
    ///
    /// - Returns: whether all arrived within `limit`.
    func transfer(_ messageCount: Int, on handle: DataChannelHandle, within limit: Duration) throws -> Bool {
        let message = [UInt8](repeating: 7, count: 65_536)
        serverEvents = []
        longestPacketByteCount = 0
        var sentCount = 0
        return run(for: limit) { pair in
            while sentCount < messageCount, pair.client.bufferedAmount(of: handle) < 1 << 20 {
                do { try pair.send(message, on: handle) } catch { break }
                sentCount += 1
            }
            pair.drain()
            // Compared once only: bytes take their time.
            return pair.serverEvents.count(where: \.isMessage) == messageCount
                && pair.serverEvents.allSatisfy { !$0.isMessage || $0.messageBytes == message }
        }
    }

    /// Opens a channel from one side and waits until the other has it.
    func openPair(
        _ parameters: DataChannelParameters,
        fromClient: Bool = true
    ) throws -> (client: DataChannelHandle, server: DataChannelHandle)? {
        let before = fromClient ? serverEvents.count : clientEvents.count
        let handle = try (fromClient ? client : server).open(parameters)
        func incoming(_ pair: SCTPPair) -> DataChannelHandle? {
            (fromClient ? pair.serverEvents : pair.clientEvents)[before...].compactMap(\.incomingHandle).first
        }
        run(for: .seconds(30)) { incoming($0) != nil }
        return incoming(self).map { fromClient ? (handle, $0) : ($0, handle) }
    }

    func send(_ bytes: [UInt8], isText: Bool = false, on handle: DataChannelHandle, fromClient: Bool = true) throws {
        try (fromClient ? client : server).send(bytes.span.bytes, isText: isText, on: handle, at: now)
    }

    /// Hands a packet to one side as if it had just come in.
    func inject(_ packet: [UInt8], toServer: Bool) {
        (toServer ? server : client).receive(packet.span.bytes, at: now)
    }
}

extension DataChannelEvent {
    var incomingHandle: DataChannelHandle? {
        if case .incoming(let handle, _, _) = self { handle } else { nil }
    }
    var incomingID: UInt16? {
        if case .incoming(_, _, let id) = self { id } else { nil }
    }
    var openedID: UInt16? {
        if case .opened(_, let id) = self { id } else { nil }
    }
    var messageBytes: [UInt8]? {
        if case .message(_, _, let bytes) = self { bytes } else { nil }
    }
    var isMessage: Bool { if case .message = self { true } else { false } }
    var closedHandle: DataChannelHandle? {
        if case .closed(let handle) = self { handle } else { nil }
    }
    var end: SCTPError?? {
        if case .associationClosed(let error) = self { .some(error) } else { nil }
    }
}

extension DataChannelTable {
    /// Sends what no channel would; drain after.
    func sendRaw(_ bytes: [UInt8], stream: UInt16, ppid: UInt32) -> SCTPAssociation.SendResult? {
        association?.send(bytes.span.bytes, stream: stream, ppid: ppid, isOrdered: true, reliability: .reliable)
    }
}
