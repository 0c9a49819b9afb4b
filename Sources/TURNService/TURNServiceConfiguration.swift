package import Logging
package import NIOSSL
package import SansIO
package import TURNServer

/// Where and how a TURN server listens.
package struct TURNServiceConfiguration: Sendable {
    /// An address of this machine; "0.0.0.0" and "::" listen on all.
    package var host: String
    /// The port for UDP and TCP; 0 lets the system choose.
    package var port: Int
    /// The port for TLS, if it is spoken, and its certificate.
    package var tls: (port: Int, context: NIOSSLContext)?
    /// What clients are told as the relayed addresses' IP, behind a NAT that translates one to one.
    ///
    /// Of a family that the server listens for.
    package var publicAddress: IPAddress?
    /// Ports of relayed addresses, as many for each family; nil lets the system choose.
    package var relayPorts: ClosedRange<UInt16>?
    package var realm = "rtc-peer"
    package var secret: TURNSharedSecret
    /// Ranges of peers that would be out of bounds.
    package var allowed: [IPNetwork] = []
    package var limits = TURNServerLimits()
    package var logger = Logger(label: "turn")

    package init(host: String, port: Int, secret: TURNSharedSecret) {
        self.host = host
        self.port = port
        self.secret = secret
    }
}

/// Where a started server can be reached.
package struct TURNEndpoint: Hashable, Sendable {
    package var udpPort: UInt16
    package var tcpPort: UInt16
    package var tlsPort: UInt16?
    /// What clients are told as relayed IPs.
    package var relayIPs: [IPAddress]

    package init(udpPort: UInt16, tcpPort: UInt16, tlsPort: UInt16?, relayIPs: [IPAddress]) {
        self.udpPort = udpPort
        self.tcpPort = tcpPort
        self.tlsPort = tlsPort
        self.relayIPs = relayIPs
    }

    /// The addresses of the server for somebody who reaches the machine by a name.
    ///
    /// - Parameters:
    ///   - host: a name, or an address without brackets.
    ///   - tlsHost: the one that the certificate is for.
    /// - Returns: URLs of STUN (RFC 7064), and of TURN (RFC 7065) with the fewest layers first.
    package func urls(host: String, tlsHost: String) -> (stun: [String], turn: [String]) {
        func authority(_ host: String, _ port: UInt16) -> String {
            host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
        var turn = [
            "turn:\(authority(host, udpPort))?transport=udp", "turn:\(authority(host, tcpPort))?transport=tcp",
        ]
        if let tlsPort { turn.append("turns:\(authority(tlsHost, tlsPort))?transport=tcp") }
        return (["stun:\(authority(host, udpPort))"], relayIPs.isEmpty ? [] : turn)
    }
}

/// Why a server does not start, in words.
package struct TURNServiceError: Error, Hashable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
