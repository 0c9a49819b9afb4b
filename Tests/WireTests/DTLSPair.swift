import DTLS
import SansIO
import SimulatedClock
import Testing

/// Two DTLS ends, the datagrams between them, and the time both live in.
///
/// Sets the process-wide simulated clock: suites that use it belong under `VirtualTime`.
final class DTLSPair {
    /// One end with what it put out.
    final class End {
        let role: DTLSRole
        let transport: DTLSTransport
        let transmits = TransmitQueue(initialCapacity: 4096)
        var events: [DTLSEvent] = []
        var messages: [[UInt8]] = []
        var sentCount = 0

        init(role: DTLSRole, certificate: DTLSCertificate, profiles: [SRTPProfileID], mtu: Int) throws {
            self.role = role
            transport = try DTLSTransport(
                certificate: certificate,
                transmits: transmits,
                srtpProfiles: profiles,
                mtu: mtu
            )
            transmits.selectedPath = TransmitPath(
                port: PortID(rawValue: 0),
                remote: TransportAddress(.init(v4: 0x7F00_0001), port: 9)
            )
        }

        var connected: DTLSConnected? {
            for case .connected(let connected) in events { return connected }
            return nil
        }

        var failure: DTLSError? {
            for case .failed(let error) in events { return error }
            return nil
        }

        func receive(_ datagram: [UInt8], at now: Instant) {
            transport.receive(datagram.span.bytes, at: now) { messages.append($0.array()) }
        }

        func send(_ message: [UInt8]) throws(DTLSError) {
            try transport.send(message.span.bytes)
        }

        func takeDatagrams() -> [[UInt8]] {
            var datagrams: [[UInt8]] = []
            transmits.drain { _, bytes in datagrams.append(Array(bytes)) }
            return datagrams
        }

        func drainEvents() {
            while let event = transport.nextEvent() { events.append(event) }
        }
    }

    static let clientCertificate = try? DTLSCertificate.generate(at: 1_700_000_000)
    static let serverCertificate = try? DTLSCertificate.generate(at: 1_700_000_000)

    let client: End
    let server: End
    var now = Instant(nanoseconds: 1_000_000_000_000)
    /// What arrives for a burst that `sender` sent; the number counts that end's bursts from 0.
    var network: (_ sender: DTLSRole, _ burst: Int, _ datagrams: [[UInt8]]) -> [[UInt8]] = { _, _, datagrams in
        datagrams
    }
    /// Bursts that each end has sent.
    private var bursts: [DTLSRole: Int] = [.client: 0, .server: 0]

    init(
        clientProfiles: [SRTPProfileID] = SRTPProfileID.preferred,
        serverProfiles: [SRTPProfileID] = SRTPProfileID.preferred,
        clientCertificate: DTLSCertificate? = nil,
        serverCertificate: DTLSCertificate? = nil,
        mtu: Int = 1200,
        exchangesFingerprints: Bool = true
    ) throws {
        let clientCertificate = try #require(clientCertificate ?? Self.clientCertificate)
        let serverCertificate = try #require(serverCertificate ?? Self.serverCertificate)
        client = try End(role: .client, certificate: clientCertificate, profiles: clientProfiles, mtu: mtu)
        server = try End(role: .server, certificate: serverCertificate, profiles: serverProfiles, mtu: mtu)
        if exchangesFingerprints {
            client.transport.setRemoteFingerprints([serverCertificate.fingerprint])
            server.transport.setRemoteFingerprints([clientCertificate.fingerprint])
        }
        simulated_clock_set_us(now.nanoseconds / 1000)
    }

    deinit {
        simulated_clock_set_us(-1)
    }

    func start() {
        server.transport.start(role: .server, initialTimeout: .milliseconds(50), at: now)
        client.transport.start(role: .client, initialTimeout: .milliseconds(50), at: now)
    }

    /// Carries datagrams to and fro until both ends are silent, without time passing.
    func exchange() {
        var rounds = 0
        while rounds < 200 {
            rounds += 1
            var moved = false
            for (from, to) in [(client, server), (server, client)] {
                let datagrams = from.takeDatagrams()
                if datagrams.isEmpty { continue }
                moved = true
                let burst = bursts[from.role, default: 0]
                bursts[from.role] = burst + 1
                for datagram in network(from.role, burst, datagrams) { to.receive(datagram, at: now) }
            }
            if !moved { break }
        }
        client.drainEvents()
        server.drainEvents()
    }

    /// Lets the time pass up to the next deadline.
    ///
    /// - Returns: false if neither end has one.
    func advance() -> Bool {
        guard let next = Deadline.earlier(client.transport.nextDeadline, server.transport.nextDeadline) else {
            return false
        }
        #expect(next.instant > now, "a deadline lies in the future")
        now = next.instant
        simulated_clock_set_us(now.nanoseconds / 1000)
        client.transport.handleTimeout(at: now)
        server.transport.handleTimeout(at: now)
        return true
    }

    /// Starts both ends and runs them until they are connected or nothing happens any more.
    func run(maximumTimeouts: Int = 60) {
        start()
        exchange()
        var count = 0
        while client.transport.state == .connecting || server.transport.state == .connecting, count < maximumTimeouts {
            guard advance() else { break }
            exchange()
            count += 1
        }
    }

    var areConnected: Bool { client.transport.state == .connected && server.transport.state == .connected }
}
