// TURNService: the STUN and TURN server on SwiftNIO's event loops.
//
// What it does: sockets for UDP, TCP and TLS, one more for each relayed address, time, the machine's addresses.
// What it leaves to others: the protocol, quotas and policy (`TURNServer`), certificates, who gets credentials.
// It is a target of its own, and not a part of `Signaling`, since neither needs the other: `rtc-peer serve` joins them.

internal import Locking
internal import Logging
package import NIOCore
internal import NIOPosix
internal import SansIO
package import TURNServer
internal import UDPSockets

/// A STUN and TURN server on one event loop.
package final class TURNService: Sendable {
    private enum State {
        case idle, starting
        case running(NIOLoopBound<TURNServiceCore>)
        case stopped
    }

    private let configuration: TURNServiceConfiguration
    private let loop: any EventLoop
    private let state = Mutex(State.idle)

    /// Makes a server that does not listen yet.
    ///
    /// - Parameters:
    ///   - configuration: where to listen, and limits.
    ///   - eventLoop: where it runs; nil takes one of NIO's shared loops.
    package init(configuration: TURNServiceConfiguration, eventLoop: (any EventLoop)? = nil) {
        self.configuration = configuration
        loop = eventLoop ?? MultiThreadedEventLoopGroup.singleton.next()
    }

    /// Listens.
    ///
    /// - Returns: where it can be reached.
    /// - Throws: `TURNServiceError`: a port is taken, the address not one of this machine, or it was started before.
    package func start() async throws -> TURNEndpoint {
        let plan = try ListeningPlan(configuration)
        try state.withLock { state in
            guard case .idle = state else {
                throw TURNServiceError("This server was started before; make another one.")
            }
            state = .starting
        }
        let configuration = configuration
        let loop = loop
        let core = try await loop.submit {
            NIOLoopBound(TURNServiceCore(configuration: configuration, plan: plan, eventLoop: loop), eventLoop: loop)
        }.get()
        do {
            let endpoint = try await loop.flatSubmit { core.value.listen() }.get()
            let wasStopped = state.withLock { state in
                if case .stopped = state { return true }
                state = .running(core)
                return false
            }
            guard wasStopped else { return endpoint }
            throw TURNServiceError("The server was stopped while it started.")
        } catch {
            state.withLock { if case .starting = $0 { $0 = .idle } }
            try? await loop.flatSubmit { core.value.stop() }.get()
            throw error
        }
    }

    /// Ends all allocations, closes everything, and returns when it is closed.
    ///
    /// Harmless if not running.
    package func stop() async {
        let running: NIOLoopBound<TURNServiceCore>? = state.withLock { state in
            defer { state = .stopped }
            if case .running(let running) = state { return running }
            return nil
        }
        guard let running else { return }
        try? await loop.flatSubmit { running.value.stop() }.get()
    }

    /// Allocations at this moment.
    package func allocationCount() async -> Int { await ask(\.allocationCount) ?? 0 }

    /// What has come so far; nothing unless it runs.
    package func statistics() async -> TURNServerStatistics { await ask(\.statistics) ?? TURNServerStatistics() }

    private func ask<Value: Sendable>(_ question: @escaping @Sendable (TURNServiceCore) -> Value) async -> Value? {
        let running: NIOLoopBound<TURNServiceCore>? = state.withLock { state in
            if case .running(let running) = state { return running }
            return nil
        }
        guard let running else { return nil }
        return try? await loop.submit { question(running.value) }.get()
    }
}

/// On which addresses to listen, and at which to relay.
struct ListeningPlan: Sendable {
    /// For UDP: one socket for each address, so that answers leave from where the question came to.
    let udp: [IPAddress]
    /// As given.
    let tcpHost: String
    let relays: [TURNRelayAddress]

    init(_ configuration: TURNServiceConfiguration) throws(TURNServiceError) {
        tcpHost = configuration.host
        let known = NetworkInterfaces.addresses(includesLoopback: true).map(\.ip)
        var families = [true, false]
        if let ip = Self.address(configuration.host) {
            if !ip.isUnspecified {
                udp = [ip]
                relays = [Self.relay(ip, configuration)]
                try Self.check(configuration, relays)
                return
            }
            families = ip.isIPv4 ? [true] : [true, false]
        } else {
            throw TURNServiceError(
                "“\(configuration.host)” is no address; a TURN server listens on one, or on 0.0.0.0."
            )
        }
        udp = known.filter { families.contains($0.isIPv4) }
        relays = families.compactMap { isIPv4 in
            let ofFamily = known.filter { $0.isIPv4 == isIPv4 }
            let best = NetworkInterfaces.routedAddress(isIPv4: isIPv4) ?? ofFamily.first { !$0.isLoopback }
            // Loopback is better than nothing where there is only one machine.
            return (best ?? (isIPv4 ? ofFamily.first : nil)).map { Self.relay($0, configuration) }
        }
        guard !udp.isEmpty else { throw TURNServiceError("This machine has no addresses of the kind of \(tcpHost).") }
        try Self.check(configuration, relays)
    }

    /// Clients are told the public address as the server's: nothing would listen at one of another family.
    private static func check(
        _ configuration: TURNServiceConfiguration,
        _ relays: [TURNRelayAddress]
    ) throws(TURNServiceError) {
        guard let told = configuration.publicAddress, !relays.contains(where: { $0.local.isIPv4 == told.isIPv4 }) else {
            return
        }
        let family = told.isIPv4 ? "IPv4" : "IPv6"
        throw TURNServiceError(
            "Clients cannot be told \(told): that is \(family), and listening on \(configuration.host) the server has no \(family) address. Give an address of the other family, or listen on \(told.isIPv4 ? "0.0.0.0" : "[::]")."
        )
    }

    private static func address(_ host: String) -> IPAddress? { IPAddress(host == "localhost" ? "127.0.0.1" : host) }

    private static func relay(_ ip: IPAddress, _ configuration: TURNServiceConfiguration) -> TURNRelayAddress {
        let told = configuration.publicAddress.flatMap { $0.isIPv4 == ip.isIPv4 ? $0 : nil }
        return TURNRelayAddress(local: ip, told: told)
    }
}
