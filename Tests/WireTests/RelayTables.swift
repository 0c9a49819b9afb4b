import ICE
import STUN
import SansIO
import Testing

/// Servers of one connection, and what the agent is told of them: over streams that end, and over restarts of ICE.
@Suite struct RelayTables {
    private let server = TransportAddress(IPAddress(v4: 0xCB00_7109), port: 3478)
    private let other = TransportAddress(IPAddress(v4: 0xCB00_7119), port: 3478)
    private let now = Instant(nanoseconds: 1_000_000_000_000)
    private let agent: ICEAgent
    private let table: RelayTable

    init() {
        let random = RandomSource(seed: 5)
        agent = ICEAgent(role: .controlling, transmits: TransmitQueue(), random: random)
        table = RelayTable(agent: agent, random: random)
    }

    private func socket(_ number: Int) -> RelayTable.Socket {
        RelayTable.Socket(
            port: PortID(rawValue: number),
            base: TransportAddress(IPAddress(v4: 0xC000_0201), port: 5000),
            preference: 65_535
        )
    }

    private func allocate(_ transport: RelayTransport, on number: Int, isReopened: Bool = false) {
        table.allocate(
            from: RelayTable.Server(address: server, transport: transport, credentials: nil),
            on: socket(number),
            isReopened: isReopened,
            at: now
        )
    }

    private struct Request {
        var path: TransmitPath
        var reading: STUNReading
    }

    private func requests() throws -> [Request] {
        var requests: [Request] = []
        var sent: [(TransmitPath, [UInt8])] = []
        table.wire.drain { sent.append(($0, Array($1))) }
        for (path, bytes) in sent { requests.append(Request(path: path, reading: try STUNReading(bytes))) }
        return requests
    }

    private func deliver(_ bytes: [UInt8], _ transport: RelayTransport, to path: TransmitPath) {
        if transport == .udp {
            _ = table.receive(bytes.span.bytes, from: path.remote, on: path.port, at: now) { _, _, _ in }
        } else {
            table.receive(stream: bytes.span.bytes, on: path.port, at: now) { _, _, _ in }
        }
    }

    /// Grants an allocation, of this port.
    private func grant(_ request: Request, _ transport: RelayTransport, port: UInt16) {
        var writer = STUNMessageWriter(.success, .allocate, request.reading.message.transactionID)
        writer.add(.xorRelayedAddress, xor: TransportAddress(server.ip, port: port))
        writer.add(.lifetime, UInt32(600))
        deliver(writer.finish(), transport, to: request.path)
    }

    private func fail(_ request: Request, _ transport: RelayTransport, _ code: STUNErrorCode) {
        var writer = STUNMessageWriter(.failure, request.reading.message.method, request.reading.message.transactionID)
        writer.add(code)
        if code == .tryAlternate {
            // ALTERNATE-SERVER is not masked (RFC 8489 §14.15).
            var value: [UInt8] = [0, 1, UInt8(other.port >> 8), UInt8(other.port & 255)]
            for shift in [24, 16, 8, 0] as [UInt64] { value.append(UInt8(truncatingIfNeeded: other.ip.low >> shift)) }
            writer.add(.alternateServer, value)
        }
        deliver(writer.finish(), transport, to: request.path)
    }

    private enum Told: Equatable {
        case candidate(UInt16), complete, resumed
    }

    private func told() -> [Told] {
        var told: [Told] = []
        while let event = agent.nextEvent() {
            switch event {
            case .localCandidate(let candidate) where candidate.kind == .relay:
                told.append(.candidate(candidate.address.port))
            case .gatheringComplete: told.append(.complete)
            case .gatheringResumed: told.append(.resumed)
            default: break
            }
        }
        return told
    }

    private func commands() -> [RelayTable.StreamCommand] {
        var commands: [RelayTable.StreamCommand] = []
        while let command = table.nextStreamCommand() { commands.append(command) }
        return commands
    }

    // MARK: Streams that end

    @Test(arguments: [RelayTransport.tcp, .tls]) func `A stream that has worked is opened again`(
        transport: RelayTransport
    ) throws {
        #expect(table.willOpenStream())
        allocate(transport, on: 1)
        agent.finishAddingLocalAddresses(at: now)
        grant(try #require(try requests().first), transport, port: 1001)
        #expect(told() == [.candidate(1001), .complete])

        table.streamEnded(PortID(rawValue: 1), at: now)
        #expect(commands() == [.reopen(PortID(rawValue: 1))])
        #expect(table.isEmpty && table.nextFailure() == nil)
        #expect(told() == [.resumed])
        // The server is still starting: what was opened ends before it has answered.
        allocate(transport, on: 2, isReopened: true)
        table.streamEnded(PortID(rawValue: 2), at: now)
        #expect(commands() == [.reopen(PortID(rawValue: 2))])
        #expect(told().isEmpty)
        allocate(transport, on: 3, isReopened: true)
        grant(try #require(try requests().last), transport, port: 1003)
        #expect(told() == [.candidate(1003), .complete])
        #expect(commands().isEmpty)
    }

    @Test func `A stream whose server has forgotten the address is opened again`() throws {
        #expect(table.willOpenStream())
        allocate(.tcp, on: 1)
        agent.finishAddingLocalAddresses(at: now)
        grant(try #require(try requests().first), .tcp, port: 1001)
        table.verify(at: now)
        fail(try #require(try requests().last), .tcp, .allocationMismatch)
        #expect(commands() == [.reopen(PortID(rawValue: 1))])
        table.streamFailed(at: now)
        #expect(told() == [.candidate(1001), .complete, .resumed, .complete])
    }

    @Test func `A stream that never relayed is not opened again`() throws {
        #expect(table.willOpenStream())
        allocate(.tcp, on: 1)
        agent.finishAddingLocalAddresses(at: now)
        table.streamEnded(PortID(rawValue: 1), at: now)
        #expect(commands() == [.close(PortID(rawValue: 1))])
        #expect(table.nextFailure()?.error == .connectionLost)
        #expect(told() == [.complete])
    }

    // MARK: Restarts

    /// One server has answered, the other has not: its address, when it comes, is told in the new generation.
    @Test(arguments: [[1, 2], [2, 1]]) func `A restart of ICE waits for servers that have not answered`(
        order: [Int]
    ) throws {
        for number in order { allocate(.udp, on: number) }
        let first = try requests()
        grant(try #require(first.first { $0.path.port == PortID(rawValue: 1) }), .udp, port: 1001)
        #expect(told() == [.candidate(1001)])
        agent.restart(at: now)
        table.gatherAgain(at: now)
        agent.finishAddingLocalAddresses(at: now)
        #expect(told() == [.candidate(1001)])
        grant(try #require(first.first { $0.path.port == PortID(rawValue: 2) }), .udp, port: 1002)
        #expect(told() == [.candidate(1002), .complete])
    }

    /// The peer's offer restarts ICE; before this side's answer does its part, a server says that it was restarted.
    @Test func `An address that is renewed in the middle of a restart is waited for once`() throws {
        allocate(.udp, on: 1)
        agent.finishAddingLocalAddresses(at: now)
        grant(try #require(try requests().first), .udp, port: 1001)
        #expect(told() == [.candidate(1001), .complete])
        agent.restart(at: now)
        table.verify(at: now)
        fail(try #require(try requests().last), .udp, .allocationMismatch)
        table.gatherAgain(at: now)
        agent.finishAddingLocalAddresses(at: now)
        grant(try #require(try requests().last), .udp, port: 1002)
        #expect(told() == [.candidate(1002), .complete])
    }

    // MARK: Redirections

    @Test func `A server that sends to one that is asked anyway is done with`() throws {
        allocate(.udp, on: 1)
        table.allocate(from: RelayTable.Server(address: other, credentials: nil), on: socket(1), at: now)
        agent.finishAddingLocalAddresses(at: now)
        let asked = try requests()
        fail(try #require(asked.first { $0.path.remote == server }), .udp, .tryAlternate)
        #expect(try requests().isEmpty)
        grant(try #require(asked.first { $0.path.remote == other }), .udp, port: 1001)
        #expect(told() == [.candidate(1001), .complete])
        #expect(table.nextFailure() == nil)
    }
}
