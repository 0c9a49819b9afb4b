import STUN
import SansIO
import Testing

/// How NATs are found out about, against simulated ones.
@Suite struct NATDiscoveries {
    private static let server = TransportAddress(IPAddress(v4: 0xCB00_7102), port: 3478)
    private static let other = TransportAddress(IPAddress(v4: 0xCB00_7103), port: 3479)
    private static let outside = IPAddress(v4: 0xC633_6401)

    /// A NAT before a server of RFC 5780.
    private final class World {
        var mapping = NATDependence.endpointIndependent
        var filtering = NATDependence.endpointIndependent
        var hasOtherAddress = true
        var passes: (NATDiscovery.Transmit) -> Bool = { _ in true }
        private var ports: [[UInt64]: UInt16] = [:]
        private var visited: [NATDiscovery.Socket: Set<TransportAddress>] = [:]

        private func outsideAddress(_ socket: NATDiscovery.Socket, _ to: TransportAddress) -> TransportAddress {
            var key = [UInt64(socket.rawValue)]
            if mapping != .endpointIndependent { key.append(to.ip.low) }
            if mapping == .addressAndPortDependent { key.append(UInt64(to.port)) }
            let port = ports[key] ?? UInt16(40_000 + ports.count)
            ports[key] = port
            return TransportAddress(outside, port: port)
        }

        /// The answer to a request, if it comes back.
        func answer(_ transmit: NATDiscovery.Transmit) throws -> (bytes: [UInt8], from: TransportAddress)? {
            guard passes(transmit) else { return nil }
            visited[transmit.socket, default: []].insert(transmit.destination)
            let request = try STUNMessage(transmit.bytes.span.bytes)
            var from = transmit.destination
            if let change = request.uint32(.changeRequest, in: transmit.bytes.span.bytes) {
                if change & 4 != 0 { from.ip = other.ip }
                if change & 2 != 0 { from.port = other.port }
            }
            let known = visited[transmit.socket] ?? []
            switch filtering {
            case .endpointIndependent: break
            case .addressDependent: guard known.contains(where: { $0.ip == from.ip }) else { return nil }
            default: guard known.contains(from) else { return nil }
            }
            var writer = STUNMessageWriter(.success, .binding, request.transactionID)
            writer.add(.xorMappedAddress, xor: outsideAddress(transmit.socket, transmit.destination))
            if hasOtherAddress {
                var value: [UInt8] = [0, 1, UInt8(other.port >> 8), UInt8(other.port & 255)]
                for shift in [24, 16, 8, 0] as [UInt64] { value.append(UInt8(other.ip.low >> shift & 255)) }
                writer.add(.otherAddress, value)
            }
            return (writer.finish(), from)
        }
    }

    /// Runs to the end, each answer 20 ms after its question.
    private func run(_ world: World, second: TransportAddress? = nil) throws -> (NATFindings, Duration) {
        var now = Instant(nanoseconds: 0)
        let discovery = NATDiscovery(server: Self.server, second: second, random: RandomSource(seed: 5), at: now)
        var arriving: [(Instant, NATDiscovery.Socket, [UInt8], TransportAddress)] = []
        for _ in 0..<1_000 {
            while let transmit = discovery.nextTransmit() {
                guard let (bytes, from) = try world.answer(transmit) else { continue }
                arriving.append((now + .milliseconds(20), transmit.socket, bytes, from))
            }
            let first = arriving.indices.min { arriving[$0].0 < arriving[$1].0 }
            let deadline = discovery.nextDeadline?.instant
            if let first, arriving[first].0 <= deadline ?? arriving[first].0 {
                let (instant, socket, bytes, from) = arriving.remove(at: first)
                now = instant
                discovery.receive(bytes.span.bytes, from: from, on: socket, at: now)
            } else if let deadline {
                #expect(deadline > now)
                now = deadline
                discovery.handleTimeout(at: now)
            } else {
                return (discovery.findings, now - Instant(nanoseconds: 0))
            }
        }
        Issue.record("it does not end")
        return (discovery.findings, .zero)
    }

    @Test(arguments: [NATDependence.endpointIndependent, .addressDependent, .addressAndPortDependent])
    func mappingAndFilteringAreFound(mapping: NATDependence) throws {
        for filtering in [NATDependence.endpointIndependent, .addressDependent, .addressAndPortDependent] {
            let world = World()
            world.mapping = mapping
            world.filtering = filtering
            let (findings, time) = try run(world)
            #expect(findings.mapping == mapping)
            #expect(findings.filtering == filtering)
            #expect(findings.mapped == TransportAddress(Self.outside, port: 40_000))
            #expect(findings.roundTripTime == .milliseconds(20))
            #expect(findings.pathMTU == 1_500)
            #expect(time < .seconds(4))
        }
    }

    @Test func aSecondServerTellsTheMappingWhereTheFirstHasOneAddress() throws {
        let world = World()
        world.hasOtherAddress = false
        let second = TransportAddress(IPAddress(v4: 0xCB00_7112), port: 3478)
        #expect(try run(world, second: second).0.mapping == .endpointIndependent)
        world.mapping = .addressAndPortDependent
        let (findings, _) = try run(world, second: second)
        #expect(findings.mapping == .dependent && findings.filtering == nil && !findings.canDiscover)
        let (alone, _) = try run(world)
        #expect(alone.mapped != nil && alone.mapping == nil)
        // The same server by another name tells nothing.
        #expect(try run(world, second: TransportAddress(Self.server.ip, port: 9)).0.mapping == nil)
    }

    @Test func aSilentServerEndsItInTime() throws {
        let world = World()
        world.passes = { _ in false }
        let (findings, time) = try run(world)
        #expect(findings == NATFindings())
        #expect(time == NATDiscovery.timeout)
    }

    @Test(arguments: [1_500, 1_492, 1_400, 1_280])
    func theLargestPacketThatArrivesIsFound(limit: Int) throws {
        let world = World()
        world.passes = { $0.bytes.count + 28 <= limit }
        #expect(try run(world).0.pathMTU == limit)
    }

    @Test func aLostFirstRequestIsSentAgain() throws {
        let world = World()
        var lost: Set<[UInt8]> = []
        world.passes = { !lost.insert($0.bytes).inserted }
        let (findings, _) = try run(world)
        #expect(findings.mapping == .endpointIndependent && findings.roundTripTime == .milliseconds(20))
    }

    @Test func whatNobodyAskedForIsNotTaken() throws {
        let now = Instant(nanoseconds: 0)
        let discovery = NATDiscovery(server: Self.server, second: nil, random: RandomSource(seed: 5), at: now)
        let transmit = try #require(discovery.nextTransmit())
        let request = try STUNMessage(transmit.bytes.span.bytes)
        // Another transaction, the other socket, a request, nonsense.
        for (id, socket, kind) in [
            (STUNTransactionID(high: 1, low: 2), NATDiscovery.Socket.mapping, STUNClass.success),
            (request.transactionID, .filtering, .success), (request.transactionID, .mapping, .request),
        ] {
            var writer = STUNMessageWriter(kind, .binding, id)
            writer.add(.xorMappedAddress, xor: Self.other)
            let bytes = writer.finish()
            discovery.receive(bytes.span.bytes, from: Self.server, on: socket, at: now)
        }
        let mutation = STUNMutation(random: RandomSource(seed: 6), seeds: [transmit.bytes], changeCount: 3)
        for _ in 0..<5_000 {
            let bytes = mutation.next()
            discovery.receive(bytes.span.bytes, from: Self.server, on: .mapping, at: now)
        }
        #expect(discovery.findings.mapped == nil)
    }
}
