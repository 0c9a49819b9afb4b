public import NIOCore
internal import NIOPosix
internal import SansIO
internal import UDPSockets

/// One UDP port that many connections share, for servers: what comes in goes to the connection whose peer sent it.
///
/// A firewall then needs one open port, and the machine one socket for each of its addresses, however many peers there are:
///
/// ```swift
/// let port = try await SharedUDPPort(port: 40_000)
/// var configuration = RTCConfiguration()
/// configuration.sharedUDPPort = port
/// let one = try RTCPeerConnection(configuration: configuration)
/// let other = try RTCPeerConnection(configuration: configuration)
/// ```
///
/// Connections on one port live on one event loop, the port's. A program for more than one processor core makes several
/// ports, each with another of NIO's event loops, and spreads its connections over them.
///
/// Checks are told apart by the user name fragment that each connection signals, everything else by the peer's address,
/// which must have passed a check with the right password first. So one connection at a time can join two given addresses:
/// two shared ports hold one connection with each other, a second one takes the place of the first, and a port holds none
/// with itself. Peers with ports of
/// their own, as browsers have for each connection, know no such limit, and any number of shared ports can be in a call.
///
/// STUN servers are asked through the port, TURN servers by UDP from a socket of the connection's own, since they know
/// their clients by address.
///
/// Keep it at least as long as its connections; it closes with the last reference, or with ``close()``.
public final class SharedUDPPort: Sendable {
    /// What has come to a port since it was made.
    public struct Statistics: Hashable, Sendable {
        /// Connections on the port that have begun to gather and are not closed.
        public var connections = 0
        /// Addresses of peers that a connection owns.
        public var remoteAddresses = 0
        /// Datagrams that came, whatever became of them.
        public var packetsReceived = 0
        /// Their bytes.
        public var bytesReceived = 0
        /// Checks dropped whose user name fragment is no connection's.
        public var unknownUsernames = 0
        /// Datagrams dropped that are no checks, and from no connection's peer.
        public var unknownAddresses = 0
        /// Answers dropped that nobody has asked for.
        public var unknownResponses = 0
        /// Datagrams dropped that are none of WebRTC.
        public var malformed = 0
        /// Checks dropped between a connection and an address that is another one's.
        public var conflicts = 0
        /// Times that a peer's address went over from one connection to another.
        public var movedAddresses = 0

        /// Nothing yet.
        public init() {}
    }

    /// The port's number.
    public let port: UInt16
    /// The addresses at which it is bound, without the number.
    public let localAddresses: [String]
    let core: SharedPortCore

    /// Binds a port at each of the machine's addresses.
    ///
    /// - Parameters:
    ///   - port: its number; 0 lets the system choose, the same one at all addresses.
    ///   - localAddresses: as text; nil takes every address of the machine's interfaces that are up, and those that come
    ///     later.
    ///   - includesLoopback: whether loopback addresses are among them; nil does so only on a machine that has no others.
    ///   - eventLoop: where it and its connections live; nil takes one of NIO's shared group.
    /// - Throws: `TypeError` for an address that is none, `NetworkError` if an address or the number cannot be had.
    public init(
        port: UInt16 = 0,
        localAddresses: [String]? = nil,
        includesLoopback: Bool? = nil,
        eventLoop: (any EventLoop)? = nil
    ) async throws(RTCError) {
        var addresses: [IPAddress] = []
        for text in localAddresses ?? [] {
            guard let ip = IPAddress(text), !ip.isUnspecified, !ip.isMulticast else {
                throw RTCError(.typeError, "\(text) is no address of a machine: name its addresses one by one")
            }
            if !addresses.contains(ip) { addresses.append(ip) }
        }
        if localAddresses == nil {
            addresses = NetworkInterfaces.addresses(includesLoopback: includesLoopback).map(\.ip)
        }
        let core = SharedPortCore(eventLoop: eventLoop ?? MultiThreadedEventLoopGroup.singleton.next())
        let found = addresses
        let result = await withCheckedContinuation { continuation in
            core.eventLoop.execute {
                core.open(found, port: port, isExact: localAddresses != nil) { continuation.resume(returning: $0) }
            }
        }
        switch result {
        case .success(let (number, bound)):
            self.core = core
            self.port = number
            self.localAddresses = bound.map(\.description)
        case .failure(let error):
            core.eventLoop.execute { core.close() }
            let number = port == 0 ? "" : " \(port)"
            throw RTCError(.networkError, "the shared UDP port\(number) cannot be opened: \(error)")
        }
    }

    deinit { core.eventLoop.execute { [core] in core.close() } }

    /// What has come so far.
    public func statistics() async -> Statistics {
        await withCheckedContinuation { continuation in
            core.eventLoop.execute { [core] in continuation.resume(returning: core.statistics) }
        }
    }

    /// Closes the port and returns when its sockets are closed.
    ///
    /// Connections that still use it lose their paths; close them first.
    public func close() async {
        core.eventLoop.execute { [core] in core.close() }
        await core.waitUntilClosed()
    }
}
