package import STUN
package import SansIO

/// Tells which of many connections a datagram is for that came to a UDP port they share.
///
/// A request is for whoever signalled the user name fragment before its colon. A response is for whoever sent the request;
/// everything else is for the connection that owns its source address. An address is owned once a connection found a
/// request from there, or a response, to be authentic, and told so by `claim`: never by an unproven datagram, so nobody
/// takes an address by writing it into the header of one. What is nobody's is counted and dropped.
///
/// Two connections cannot own one address on one socket. Which does:
/// - An address of nobody is whoever's finds an authentic check from there.
/// - One that has answered is moved only to a connection that was added later, by an answer from there to a check of that
///   one (a round trip, which nobody makes with an address that is not theirs): a peer with one port of its own that calls
///   anew before this side knows that the former call has ended.
/// - An owner that got nothing authentic from there for `silence` loses it to any authentic check. A lite agent, which makes
///   no round trips, gets an address of another one by this way alone.
///
/// While an owner keeps an address, no other connection gets anything from there, checks neither: so ICE tells that the
/// path does not work, which its data could not pass.
///
/// Times and bytes in, answers out. RFC 8445 §7.3, RFC 7983 §7
package final class PortDemultiplexer {
    /// A connection on the port; one added later is larger.
    package struct Member: Hashable, Comparable, Sendable {
        package let rawValue: Int

        package static func < (one: Member, other: Member) -> Bool { one.rawValue < other.rawValue }
    }

    /// What was dropped, by reason, and what happened to addresses.
    package struct Counts: Hashable, Sendable {
        /// Requests for a fragment that no connection has, or without one.
        package var unknownUsernames = 0
        /// Responses to what no connection has asked.
        package var unknownResponses = 0
        /// Other datagrams from addresses that no connection owns.
        package var unknownAddresses = 0
        /// Datagrams that begin like STUN and are not, or not of the method Binding.
        package var malformed = 0
        /// Checks between a connection and an address that is another one's.
        package var conflicts = 0
        /// Addresses that went over from one connection to another.
        package var moves = 0
        /// Fragments refused since another connection has the same.
        package var clashes = 0

        package init() {}
    }

    package private(set) var counts = Counts()
    /// Changes with every change of an address's owner: what was looked up before may be wrong.
    package private(set) var revision = 0

    private struct Place: Hashable {
        var socket: Int
        var remote: TransportAddress
    }

    private struct Owner {
        var member: Member
        /// A check of the owner was answered from there.
        var hasAnswered: Bool
        var provenAt: Instant
    }

    private struct Request {
        var member: Member
        var place: Place
    }

    private struct State {
        /// The generations', oldest first.
        var fragments: [String] = []
        var places: [Place] = []
        /// A ring of the last requests to addresses that are not the connection's yet.
        var requests: [STUNTransactionID] = []
        var nextRequest = 0
    }

    private var states: [Member: State] = [:]
    private var fragments: [String: Member] = [:]
    private var owners: [Place: Owner] = [:]
    private var requests: [STUNTransactionID: Request] = [:]
    private var nextMember = 0

    package init() {}

    // MARK: Connections

    package var memberCount: Int { states.count }
    /// Addresses that have an owner.
    package var addressCount: Int { owners.count }

    /// A new connection, which has nothing yet.
    package func addMember() -> Member {
        defer { nextMember += 1 }
        let member = Member(rawValue: nextMember)
        states[member] = State()
        return member
    }

    /// Forgets a connection with all that is its.
    package func remove(_ member: Member) {
        guard let state = states.removeValue(forKey: member) else { return }
        for fragment in state.fragments where fragments[fragment] == member { fragments[fragment] = nil }
        for place in state.places where owners[place]?.member == member { owners[place] = nil }
        for id in state.requests where requests[id]?.member == member { requests[id] = nil }
        revision += 1
    }

    /// Lets requests with this fragment before their colon reach a connection, beside its former ones.
    ///
    /// - Returns: false if it is another connection's: then nothing changes.
    package func register(_ fragment: String, for member: Member) -> Bool {
        guard var state = states[member] else { return false }
        if let other = fragments[fragment] {
            guard other == member else {
                counts.clashes += 1
                return false
            }
            state.fragments.removeAll { $0 == fragment }
        }
        state.fragments.append(fragment)
        fragments[fragment] = member
        if state.fragments.count > Self.fragmentLimit { fragments[state.fragments.removeFirst()] = nil }
        states[member] = state
        return true
    }

    // MARK: Datagrams

    /// The connection that owns an address; nil and counted if none does.
    package func ownerOrDrop(of remote: TransportAddress, on socket: Int, count: Int) -> Member? {
        if let owner = owners[Place(socket: socket, remote: remote)] { return owner.member }
        counts.unknownAddresses += count
        return nil
    }

    /// The connection that a datagram is for whose first byte is STUN's; nil and counted if there is none.
    package func route(
        stun datagram: RawSpan,
        from remote: TransportAddress,
        on socket: Int,
        at now: Instant
    ) -> Member? {
        guard let message = try? STUNMessage(datagram), message.method == .binding else {
            counts.malformed += 1
            return nil
        }
        let place = Place(socket: socket, remote: remote)
        let owner = owners[place]
        let member: Member
        switch message.messageClass {
        case .request:
            guard let addressee = addressee(of: message, datagram) else {
                counts.unknownUsernames += 1
                return nil
            }
            member = addressee
        case .success, .failure:
            if let request = requests[message.transactionID], request.place.socket == socket,
                request.place.remote.isSameEndpoint(as: remote)
            {
                member = request.member
            } else if let owner {
                return owner.member
            } else {
                counts.unknownResponses += 1
                return nil
            }
        case .indication:
            if owner == nil { counts.unknownAddresses += 1 }
            return owner?.member
        }
        if let owner, owner.member != member, !canContend(member, with: owner, at: now) {
            counts.conflicts += 1
            return nil
        }
        return member
    }

    private func addressee(of message: STUNMessage, _ datagram: RawSpan) -> Member? {
        guard let username = message.attribute(.username), username.byteCount <= 2 * ICELimits.credentialCharacters + 1,
            let bytes = message.bytes(.username, in: datagram), let colon = bytes.firstIndex(of: UInt8(ascii: ":"))
        else { return nil }
        return fragments[String(decoding: bytes[..<colon], as: UTF8.self)]
    }

    private func canContend(_ member: Member, with owner: Owner, at now: Instant) -> Bool {
        !owner.hasAnswered || member > owner.member || owner.provenAt + Self.silence < now
    }

    /// Notes a request that leaves: its response comes from an address that need not be its connection's.
    package func noteRequest(_ id: STUNTransactionID, to remote: TransportAddress, on socket: Int, of member: Member) {
        let place = Place(socket: socket, remote: remote)
        guard owners[place]?.member != member, requests[id] == nil, var state = states.removeValue(forKey: member)
        else { return }
        requests[id] = Request(member: member, place: place)
        if state.requests.count < Self.requestLimit {
            state.requests.append(id)
        } else {
            let former = state.requests[state.nextRequest]
            if requests[former]?.member == member { requests[former] = nil }
            state.requests[state.nextRequest] = id
            state.nextRequest = (state.nextRequest + 1) % Self.requestLimit
        }
        states[member] = state
    }

    /// Says that a connection found something from an address to be authentic: the address may become its own.
    package func claim(
        _ remote: TransportAddress,
        on socket: Int,
        by proof: ICEProof,
        for member: Member,
        at now: Instant
    ) {
        let place = Place(socket: socket, remote: remote)
        guard states[member] != nil else { return }
        guard let owner = owners[place] else { return give(place, to: member, by: proof, at: now) }
        if owner.member == member {
            owners[place] = Owner(member: member, hasAnswered: owner.hasAnswered || proof == .response, provenAt: now)
        } else if owner.provenAt + Self.silence < now
            || proof == .response && (!owner.hasAnswered || member > owner.member)
        {
            states[owner.member]?.places.removeAll { $0 == place }
            counts.moves += 1
            give(place, to: member, by: proof, at: now)
        }
    }

    private func give(_ place: Place, to member: Member, by proof: ICEProof, at now: Instant) {
        guard var state = states.removeValue(forKey: member) else { return }
        if state.places.count >= ICELimits.authenticPaths,
            let oldest = state.places.indices.min(by: { provenAt(state.places[$0]) < provenAt(state.places[$1]) })
        {
            owners[state.places.remove(at: oldest)] = nil
        }
        state.places.append(place)
        states[member] = state
        owners[place] = Owner(member: member, hasAnswered: proof == .response, provenAt: now)
        revision += 1
    }

    private func provenAt(_ place: Place) -> Instant { owners[place]?.provenAt ?? Instant(nanoseconds: .min) }

    /// Without anything authentic for so long, an address may be another connection's by now: consent is checked each
    /// 4 to 6 s (RFC 7675 §5.1), and one check may be lost.
    package static let silence = Duration.seconds(13)
    /// Fragments of one connection: the present generation's, the one's before, those of offers taken back.
    package static let fragmentLimit = 4
    /// Requests of one connection whose responses are awaited from addresses that are not its own yet.
    package static let requestLimit = 128
}

/// What showed that the peer is at an address.
package enum ICEProof: Sendable {
    /// A check of the peer, with right integrity: it was sent by who knows the password, from there or as if from there.
    case request
    /// An answer to a check of ours: the peer gets what is sent there.
    case response
}
