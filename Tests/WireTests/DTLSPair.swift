import DTLS
import SansIO
import SimulatedClock

/// Two DTLS transports joined by a link under the test's control, in virtual time.
final class DTLSPair {
    let clientQueue = TransmitQueue()
    let serverQueue = TransmitQueue()
    let client: DTLSTransport
    let server: DTLSTransport
    let clientCertificate: DTLSCertificate
    let serverCertificate: DTLSCertificate
    var now = Instant(nanoseconds: 1_700_000_000_000_000_000)
    var clientEvents: [DTLSEvent] = []
    var serverEvents: [DTLSEvent] = []
    var clientReceived: [[UInt8]] = []
    var serverReceived: [[UInt8]] = []
    /// Changes what goes over the link: gets the direction and a datagram's number in it, returns what arrives.
    var link: (_ fromClient: Bool, _ number: Int, _ datagram: [UInt8]) -> [[UInt8]] = { _, _, datagram in [datagram] }
    private var sent = (client: 0, server: 0)

    init(
        clientProfiles: [SRTPProfileID] = [.aeadAes128Gcm, .aes128CmSha1_80],
        serverProfiles: [SRTPProfileID] = [.aeadAes128Gcm, .aes128CmSha1_80]
    ) throws {
        clientCertificate = try DTLSCertificate.generate(at: 1_700_000_000)
        serverCertificate = try DTLSCertificate.generate(at: 1_700_000_000)
        client = try DTLSTransport(certificate: clientCertificate, transmits: clientQueue, srtpProfiles: clientProfiles)
        server = try DTLSTransport(certificate: serverCertificate, transmits: serverQueue, srtpProfiles: serverProfiles)
        let path = TransmitPath(
            port: PortID(rawValue: 0),
            remote: TransportAddress(IPAddress(v4: 0x7F00_0001), port: 9)
        )
        clientQueue.selectedPath = path
        serverQueue.selectedPath = path
        simulated_clock_set_us(now.nanoseconds / 1000)
    }

    deinit { simulated_clock_set_us(-1) }

    func trustEachOther() {
        client.setRemoteFingerprints([serverCertificate.fingerprint])
        server.setRemoteFingerprints([clientCertificate.fingerprint])
    }

    func start() {
        server.start(role: .server, initialTimeout: .milliseconds(50), at: now)
        client.start(role: .client, initialTimeout: .milliseconds(50), at: now)
    }

    /// Delivers all that is under way, and advances time to the next deadline while `condition` holds.
    func run(while condition: () -> Bool = { true }, for duration: Duration = .seconds(20)) {
        let end = now + duration
        while condition(), now <= end {
            if exchange() { continue }
            let next = [client.nextDeadline?.instant, server.nextDeadline?.instant].compactMap { $0 }.min()
            guard let next else { return }
            now = max(next, now)
            simulated_clock_set_us(now.nanoseconds / 1000)
            client.handleTimeout(at: now)
            server.handleTimeout(at: now)
        }
    }

    private func exchange() -> Bool {
        var moved = false
        var toServer: [[UInt8]] = []
        var toClient: [[UInt8]] = []
        clientQueue.drain { _, bytes in
            toServer += link(true, sent.client, Array(bytes))
            sent.client += 1
            moved = true
        }
        serverQueue.drain { _, bytes in
            toClient += link(false, sent.server, Array(bytes))
            sent.server += 1
            moved = true
        }
        for datagram in toServer { server.receive(datagram.span.bytes, at: now) { serverReceived.append($0.array()) } }
        for datagram in toClient { client.receive(datagram.span.bytes, at: now) { clientReceived.append($0.array()) } }
        while let event = client.nextEvent() { clientEvents.append(event) }
        while let event = server.nextEvent() { serverEvents.append(event) }
        return moved
    }

    var keys: (client: SRTPKeyingMaterial?, server: SRTPKeyingMaterial?) {
        func material(_ events: [DTLSEvent]) -> SRTPKeyingMaterial? {
            for case .connected(let connected) in events { return connected.keyingMaterial }
            return nil
        }
        return (material(clientEvents), material(serverEvents))
    }
}
