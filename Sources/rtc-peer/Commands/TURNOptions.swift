import ArgumentParser
import Glibc
import SansIO
import Signaling
import TURNServer
import TURNService

/// Options of the STUN and TURN server in `rtc-peer serve`.
struct TURNOptions: ParsableArguments {
    @Flag(
        help:
            "Also a STUN and TURN server: who joins a room is told how to use it for a day. Example: --listen 0.0.0.0:8080 --turn"
    )
    var turn = false

    @Option(
        help: ArgumentHelp(
            "Where TURN listens by UDP and TCP; without it port 3478 at the address of --listen. Example: --turn-listen 0.0.0.0:3478",
            valueName: "ADDRESS:PORT"
        )
    )
    var turnListen: ListenAddress?

    @Option(
        name: .customLong("turn-tls"),
        help: ArgumentHelp(
            "A port for TURN over TLS, with the certificate of the page; 443 passes most firewalls. Example: --turn-tls 5349",
            valueName: "PORT"
        )
    )
    var turnTLS: Int?

    @Option(
        help: ArgumentHelp(
            "What passwords are made with, as coturn's static-auth-secret: @FILE reads it from there; without it TURN_SECRET in the environment, else one is drawn. Example: --turn-secret @/etc/turn-secret",
            valueName: "TEXT"
        )
    )
    var turnSecret: String?

    @Option(
        help: ArgumentHelp(
            "The machine's address as others see it, of a family that TURN listens for, where a NAT translates it one to one as at cloud providers. Example: --turn-address 203.0.113.7",
            valueName: "IP"
        )
    )
    var turnAddress: String?

    @Option(
        help: ArgumentHelp(
            "The UDP ports of relayed addresses, of IPv4 and of IPv6 each, to be opened in a firewall; without it the system chooses. Example: --turn-ports 49152-65535",
            valueName: "LOW-HIGH"
        )
    )
    var turnPorts: PortRange?

    @Option(
        help: ArgumentHelp(
            "The realm that users authenticate for; rtc-peer unless told. Example: --turn-realm example.org",
            valueName: "NAME"
        )
    )
    var turnRealm: String?

    @Option(
        help: ArgumentHelp(
            "Allocations of one peer at most, 64 unless told; a browser makes one for each of its addresses, connections and transports. Example: --turn-quota 16",
            valueName: "COUNT"
        )
    )
    var turnQuota: Int?

    @Option(
        help: ArgumentHelp(
            "Relay to these addresses, too, which would be out of bounds: private ones, loopback, this machine's. May be repeated. Example: --turn-allow 192.168.1.0/24",
            valueName: "CIDR"
        )
    )
    var turnAllow: [String] = []

    func validate() throws {
        let isUsed =
            turnListen != nil || turnTLS != nil || turnSecret != nil || turnAddress != nil || turnPorts != nil
            || turnRealm != nil || turnQuota != nil || !turnAllow.isEmpty
        if isUsed, !turn { throw ValidationError("options of TURN need --turn, which starts it") }
        if let turnTLS, !(0...65_535).contains(turnTLS) { throw ValidationError("--turn-tls \(turnTLS): no port") }
        if let turnAddress {
            guard let ip = IPAddress(turnAddress), !ip.isUnspecified, !ip.isMulticast else {
                throw ValidationError("--turn-address \(turnAddress): expected an IP address, as 203.0.113.7")
            }
        }
        for text in turnAllow where IPNetwork(text) == nil {
            throw ValidationError("--turn-allow \(text): expected a range of addresses, as 192.168.1.0/24")
        }
        if let turnQuota, !(1...100_000).contains(turnQuota) {
            throw ValidationError("--turn-quota \(turnQuota): expected 1 to 100000")
        }
        if let turnRealm {
            guard !turnRealm.isEmpty, turnRealm.utf8.count <= 127,
                turnRealm.utf8.allSatisfy({ (32...126).contains($0) })
            else { throw ValidationError("--turn-realm takes 1 to 127 characters of ASCII") }
        }
        if turnSecret?.isEmpty == true {
            throw ValidationError("--turn-secret is empty; leave it out to have one drawn")
        }
    }

    /// Starts the server, if there is to be one.
    ///
    /// - Parameters:
    ///   - host: where to listen unless told.
    ///   - certificate: for TLS.
    /// - Returns: nil without `--turn`.
    /// - Throws: an error in words.
    func start(host: String, certificate: ServerCertificate?) async throws -> RelayServer? {
        guard turn else { return nil }
        let listen = turnListen ?? ListenAddress(host: host, port: Self.standardPort)
        var configuration = TURNServiceConfiguration(host: listen.host, port: listen.port, secret: try secret())
        // RFC 7443 has a name for TURN in ALPN, and clients that offer none.
        if let turnTLS, let certificate {
            configuration.tls = (turnTLS, try certificate.makeContext(protocols: ["stun.turn"]))
        }
        configuration.publicAddress = turnAddress.flatMap { IPAddress($0) }
        configuration.relayPorts = turnPorts?.range
        if let turnRealm { configuration.realm = turnRealm }
        if let turnQuota { configuration.limits.allocationsPerUser = turnQuota }
        configuration.allowed = turnAllow.compactMap { IPNetwork($0) }
        let service = TURNService(configuration: configuration)
        let endpoint = try await service.start()
        return RelayServer(
            service: service,
            endpoint: endpoint,
            secret: configuration.secret,
            listenHost: listen.host,
            publicAddress: configuration.publicAddress
        )
    }

    private func secret() throws -> TURNSharedSecret {
        if let turnSecret {
            guard turnSecret.hasPrefix("@") else { return TURNSharedSecret(turnSecret) }
            return TURNSharedSecret(try Self.firstLine(of: String(turnSecret.dropFirst())))
        }
        if let text = unsafe getenv("TURN_SECRET"), unsafe text.pointee != 0 {
            return TURNSharedSecret(unsafe String(cString: text))
        }
        return .drawn(from: RandomSource())
    }

    private static func firstLine(of path: String) throws -> String {
        guard let file = unsafe fopen(path, "re") else {
            let why = unsafe String(cString: strerror(errno))
            throw TURNOptionsError(description: "the secret of TURN cannot be read from \(path): \(why)")
        }
        defer { unsafe fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe fread(&buffer, 1, buffer.count, file)
        let line = buffer.prefix(count).prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard !line.isEmpty else {
            throw TURNOptionsError(description: "the first line of \(path) is to be the secret of TURN, and is empty")
        }
        return String(decoding: line, as: UTF8.self)
    }

    /// STUN's and TURN's, by UDP and TCP (RFC 8656 §6).
    private static let standardPort = 3478
}

/// Why the options cannot be followed, in words.
struct TURNOptionsError: Error, CustomStringConvertible {
    let description: String
}
