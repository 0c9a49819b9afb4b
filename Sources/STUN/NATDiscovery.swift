package import SansIO

/// On what a NAT's choice of an outside port, or of what it lets in, depends.
///
/// RFC 4787 §4.1, §5
package enum NATDependence: String, Hashable, Sendable {
    case endpointIndependent = "endpoint-independent"
    case addressDependent = "address-dependent"
    case addressAndPortDependent = "address-and-port-dependent"
    /// On the address, the port, or both: the server has no second address to tell them apart.
    case dependent = "address- or port-dependent"
}

/// What was found out about the way between a socket and a STUN server.
package struct NATFindings: Hashable, Sendable {
    /// The socket as the server sees it; nil if the server does not answer over UDP.
    package var mapped: TransportAddress?
    /// From the request that was answered to its answer.
    package var roundTripTime: Duration?
    /// Whether the server can answer from another address (RFC 5780).
    package var canDiscover = false
    /// nil if it could not be told.
    package var mapping: NATDependence?
    /// nil if it could not be told.
    package var filtering: NATDependence?
    /// The largest IP packet of those tried that was answered with its "don't fragment" set; nil if none was.
    package var pathMTU: Int?

    package init() {}
}

/// Finds out how a NAT maps and filters, and how large packets may be, by asking a STUN server from three sockets.
///
/// Mapping is asked for from one socket; filtering from another, since what the first one has sent to the server's other
/// address would let answers from there in; sizes from a third, on which nothing is cut up.
///
/// RFC 5780 §4.3, §4.4
package final class NATDiscovery {
    package enum Socket: Int, CaseIterable, Sendable {
        case mapping, filtering, sizes
    }

    package struct Transmit: Hashable, Sendable {
        package var socket: Socket
        package var destination: TransportAddress
        package var bytes: [UInt8]
    }

    private enum Step: Hashable {
        case binding, otherAddress, otherAddressAndPort, changedAddressAndPort, changedPort
        case size(Int)

        var socket: Socket {
            switch self {
            case .binding, .otherAddress, .otherAddressAndPort: .mapping
            case .changedAddressAndPort, .changedPort: .filtering
            case .size: .sizes
            }
        }
    }

    private struct Request {
        let step: Step
        let destination: TransportAddress
        var transaction: STUNTransaction
    }

    package private(set) var findings = NATFindings()
    private let server: TransportAddress
    /// Another server, which serves as the other address of one that has none.
    private let second: TransportAddress?
    private let random: RandomSource
    private var other: TransportAddress?
    private var requests: [Request] = []
    private var transmits = RingQueue<Transmit>()
    private var mappedByOther: TransportAddress?

    /// Begins to ask.
    package init(server: TransportAddress, second: TransportAddress?, random: RandomSource, at now: Instant) {
        self.server = server
        self.second = second.flatMap { $0.ip != server.ip && $0.ip.isIPv4 == server.ip.isIPv4 ? $0 : nil }
        self.random = random
        ask(.binding, server, at: now)
        for byteCount in Self.packetByteCounts { ask(.size(byteCount), server, at: now) }
    }

    // MARK: Inputs

    package func receive(_ bytes: RawSpan, from remote: TransportAddress, on socket: Socket, at now: Instant) {
        guard let message = try? STUNMessage(bytes), message.method == .binding,
            message.messageClass == .success || message.messageClass == .failure,
            let index = requests.firstIndex(where: {
                $0.transaction.id == message.transactionID && $0.step.socket == socket
            })
        else { return }
        let request = requests.remove(at: index)
        // An answer that refuses shows that the server is there, and nothing else.
        let mapped =
            message.messageClass == .success
            ? message.xorAddress(.xorMappedAddress, in: bytes) ?? message.address(.mappedAddress, in: bytes) : nil
        switch request.step {
        case .binding:
            findings.mapped = mapped
            findings.roundTripTime = now - request.transaction.lastSentAt
            guard mapped != nil else { return }
            goOn(other: message.address(.otherAddress, in: bytes), at: now)
        case .otherAddress:
            mappedByOther = mapped
            if mapped == findings.mapped {
                findings.mapping = .endpointIndependent
            } else if let other, mapped != nil {
                ask(.otherAddressAndPort, other, at: now)
            } else if mapped != nil {
                findings.mapping = .dependent
            }
        case .otherAddressAndPort:
            findings.mapping = mapped == mappedByOther ? .addressDependent : .addressAndPortDependent
        case .changedAddressAndPort:
            // A server that cannot answer from elsewhere must not be taken for a NAT that lets everyone in.
            if message.messageClass == .success, remote.ip != server.ip { findings.filtering = .endpointIndependent }
        case .changedPort:
            if message.messageClass == .success, remote.ip == server.ip, remote.port != server.port {
                findings.filtering = .addressDependent
            }
        case .size(let byteCount):
            findings.pathMTU = max(findings.pathMTU ?? 0, byteCount)
        }
    }

    package func handleTimeout(at now: Instant) {
        for index in requests.indices.reversed() {
            switch requests[index].transaction.handleTimeout(at: now) {
            case .none: break
            case .retransmit: transmit(requests[index])
            case .giveUp:
                let request = requests.remove(at: index)
                switch request.step {
                case .changedAddressAndPort: ask(.changedPort, server, change: Self.changePort, at: now)
                // The server answered before, and says that it can: what does not come in was kept out.
                case .changedPort: findings.filtering = .addressAndPortDependent
                default: break
                }
            }
        }
    }

    // MARK: Outputs

    package func nextTransmit() -> Transmit? { transmits.popFirst() }

    /// nil once there is nothing more to find out.
    package var nextDeadline: Deadline? {
        requests.map(\.transaction.nextInstant).min().map { Deadline($0, "NAT discovery") }
    }

    // MARK: Private

    private func goOn(other: TransportAddress?, at now: Instant) {
        if let other, other.ip != server.ip, other.port != server.port, other.ip.isIPv4 == server.ip.isIPv4,
            !other.ip.isUnspecified, !other.ip.isMulticast
        {
            self.other = other
            findings.canDiscover = true
            ask(.otherAddress, TransportAddress(other.ip, port: server.port), at: now)
            ask(.changedAddressAndPort, server, change: Self.changeAddress | Self.changePort, at: now)
        } else if let second {
            ask(.otherAddress, second, at: now)
        }
    }

    private func ask(_ step: Step, _ destination: TransportAddress, change: UInt32? = nil, at now: Instant) {
        let id = STUNTransactionID(random: random)
        var writer = STUNMessageWriter(.request, .binding, id)
        if let change { writer.add(.changeRequest, change) }
        if case .size(let byteCount) = step {
            // The rest: headers of IP and UDP, the message's own, this attribute's, FINGERPRINT.
            let rest = (destination.ip.isIPv4 ? 20 : 40) + 8 + 20 + 4 + 8
            writer.add(Self.padding, [UInt8](repeating: 0, count: max(0, byteCount - rest) & ~3))
        }
        let request = Request(
            step: step,
            destination: destination,
            transaction: STUNTransaction(
                id: id,
                message: writer.finish(),
                initialInterval: .milliseconds(250),
                maximumInterval: .milliseconds(500),
                timeout: Self.timeout,
                at: now
            )
        )
        requests.append(request)
        transmit(request)
    }

    private func transmit(_ request: Request) {
        let step = request.step
        transmits.append(
            Transmit(socket: step.socket, destination: request.destination, bytes: request.transaction.message)
        )
    }

    /// Sizes of IP packets that paths are known to end at: Ethernet, PPPoE, tunnels, IPv6's least.
    package static let packetByteCounts = [1_500, 1_492, 1_480, 1_460, 1_440, 1_420, 1_400, 1_360, 1_320, 1_280, 1_200]
    /// How long each question waits for its answer.
    package static let timeout = Duration.milliseconds(1_500)
    /// An attribute that no server knows and that all must pass over (RFC 8489 §14: from 0x8000 on).
    private static let padding = STUNAttributeType(rawValue: 0xBFFF)
    private static let changeAddress: UInt32 = 4
    private static let changePort: UInt32 = 2
}
