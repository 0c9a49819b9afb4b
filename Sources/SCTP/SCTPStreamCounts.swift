internal import SansIO

/// Lets an association have all 65 535 streams while usrsctp has memory for those that are used.
///
/// usrsctp allocates its streams when the association is made: 72 bytes for each that it sends on, 40 for each that the
/// peer's INIT announces, 2.6 MB for a peer that announces them all. RFC 6525 §4.5 lets streams be added later, but
/// Chromium's and Pion's SCTP leave such a request unanswered and then refuse every later one, so that no channel would
/// close any more. So the peer is told of all streams at once (RFC 8831 §6.2 asks for that), usrsctp of a few, and the
/// requests by which usrsctp makes more never leave the process: what it asks of the peer is answered here, what it
/// needs to be asked is asked here in the peer's name. The sequence numbers of the requests that do travel are
/// corrected by those that did not.
///
/// Called with each packet on its way; the stack's lock guards it.
struct SCTPStreamCounts {
    /// Streams that usrsctp begins with, each way.
    static let initialCount: UInt16 = 128

    /// Streams that usrsctp can send on.
    private(set) var outgoing = 0
    /// Streams that usrsctp can receive on.
    private(set) var incoming = 0
    /// Streams that the peer has announced to send on.
    private(set) var announced = 0
    /// Whether the peer can be asked to reset streams (RFC 6525 §3).
    private(set) var peerResets = false
    /// Whether the association is up: what later INITs say no longer counts.
    private(set) var isEstablished = false

    private let streamCount: UInt16
    /// The most streams that the peer receives on; nil before its INIT or INIT ACK.
    private var peerLimit: UInt16?
    /// What the peer writes into the packets for us.
    private var ownTag: UInt32?
    /// usrsctp's requests that were answered here.
    private var ownAnswered: UInt32 = 0
    /// Requests that were made here in the peer's name.
    private var peerForged: UInt32 = 0
    /// The number of the peer's next request, as usrsctp counts.
    private var nextPeerRequest: UInt32 = 0
    /// usrsctp's request for more streams which waits for an answer.
    private var openRequest: UInt32?
    /// The request in the peer's name whose response must not leave.
    private var forgedRequest: UInt32?

    /// - Parameter streamCount: streams that the peer is told of.
    init(streamCount: UInt16) { self.streamCount = streamCount }

    /// Streams that usrsctp is made with.
    var initialOutgoing: UInt16 { min(streamCount, Self.initialCount) }
    /// Streams that may be used to send on.
    var outgoingLimit: UInt16 { min(streamCount, peerLimit ?? streamCount) }

    /// The association is up with so many streams.
    mutating func establish(outgoing: Int, incoming: Int) {
        isEstablished = true
        update(outgoing: outgoing, incoming: incoming)
    }

    mutating func update(outgoing: Int, incoming: Int) {
        self.outgoing = outgoing
        self.incoming = incoming
    }

    // MARK: What goes out

    /// Whether a packet of usrsctp's must go through ``outgoing(_:)``.
    static func concerns(_ type: UInt8) -> Bool {
        type == SCTPChunks.initiation || type == SCTPChunks.initiationAck || type == SCTPChunks.reconfiguration
    }

    /// What the peer gets of a packet of usrsctp's, without the checksum; perhaps nothing.
    mutating func outgoing(_ packet: RawSpan) -> [UInt8] {
        var result = packet.extracting(..<SCTPChunks.headerByteCount).array()
        SCTPChunks.forEach(in: packet) { type, start, end in
            var chunk = packet.extracting(start..<end).array()
            switch type {
            case SCTPChunks.initiation, SCTPChunks.initiationAck:
                guard chunk.count >= Field.initiationEnd else { break }
                if type == SCTPChunks.initiation, ownTag == nil { ownTag = chunk.uint32(at: Field.tag) }
                chunk.set(type == SCTPChunks.initiation ? streamCount : outgoingLimit, at: Field.outgoingStreams)
            case SCTPChunks.reconfiguration:
                guard let rest = outgoingRequests(chunk) else { return }
                chunk = rest
            default: break
            }
            result.append(contentsOf: chunk)
            result.pad()
        }
        return result.count > SCTPChunks.headerByteCount ? result : []
    }

    private mutating func outgoingRequests(_ chunk: [UInt8]) -> [UInt8]? {
        var result = Array(chunk.prefix(Field.parameters))
        Self.forEachParameter(in: chunk) { type, bytes in
            var bytes = bytes
            let sequence = bytes.uint32(at: Field.sequence)
            switch type {
            case Request.resetOutgoing where bytes.count >= Field.responseSequence + 4:
                bytes.add(0 &- ownAnswered, at: Field.sequence)
                bytes.add(0 &- peerForged, at: Field.responseSequence)
            case Request.response where bytes.count >= Field.result + 4:
                if sequence == forgedRequest {
                    forgedRequest = nil
                    return
                }
                if bytes.uint32(at: Field.result) != Request.badSequenceNumber,
                    Int32(bitPattern: sequence &- nextPeerRequest) >= 0
                {
                    nextPeerRequest = sequence &+ 1
                }
                bytes.add(0 &- peerForged, at: Field.sequence)
            case Request.addOutgoing:
                openRequest = sequence
                return
            default: bytes.add(0 &- ownAnswered, at: Field.sequence)
            }
            result.pad()
            result.append(contentsOf: bytes)
        }
        guard result.count > Field.parameters else { return nil }
        result.set(UInt16(clamping: result.count), at: Field.length)
        return result
    }

    /// The peer's answer to a request of usrsctp's for more streams, if there is one.
    mutating func answer(from remotePort: UInt16, to localPort: UInt16) -> [UInt8]? {
        guard let request = openRequest, let ownTag else { return nil }
        openRequest = nil
        ownAnswered &+= 1
        return Self.packet(
            from: remotePort,
            to: localPort,
            tag: ownTag,
            type: Request.response,
            request,
            Request.performed
        )
    }

    // MARK: What comes in

    /// Streams that usrsctp must be able to receive on for a chunk to count; 0 for any number.
    static func streamsNeeded(_ type: UInt8, in packet: RawSpan, from start: Int, to end: Int) -> Int {
        switch type {
        case SCTPChunks.data where end - start >= 12: return Int(packet.uint16(at: start + 8)) + 1
        case SCTPChunks.forwardTSN:
            var needed = 0
            var offset = start + 8
            while end - offset >= 4 {
                needed = max(needed, Int(packet.uint16(at: offset)) + 1)
                offset += 4
            }
            return needed
        default: return 0
        }
    }

    /// A chunk of the peer's as usrsctp is to see it.
    mutating func incoming(_ type: UInt8, _ chunk: [UInt8]) -> [UInt8] {
        switch type {
        case SCTPChunks.initiation, SCTPChunks.initiationAck: return incomingInitiation(chunk)
        case SCTPChunks.reconfiguration: return incomingRequests(chunk)
        default: return chunk
        }
    }

    private mutating func incomingInitiation(_ chunk: [UInt8]) -> [UInt8] {
        guard chunk.count >= Field.initiationEnd else { return chunk }
        var chunk = chunk
        let count = chunk.uint16(at: Field.outgoingStreams)
        chunk.set(min(count, Self.initialCount), at: Field.outgoingStreams)
        let canReset = Self.namesReconfiguration(chunk)
        if !canReset {
            // usrsctp makes no streams for a peer without RE-CONFIG: it is told of one, and asked for no reset.
            chunk.pad()
            chunk.append(contentsOf: [0x80, 0x08, 0, 5, SCTPChunks.reconfiguration])
            chunk.set(UInt16(clamping: chunk.count), at: Field.length)
        }
        guard !isEstablished else { return chunk }
        announced = Int(count)
        incoming = Int(min(count, Self.initialCount))
        peerLimit = chunk.uint16(at: Field.incomingStreams)
        peerResets = canReset
        nextPeerRequest = chunk.uint32(at: Field.initialTSN)
        return chunk
    }

    /// Whether an INIT or INIT ACK lists RE-CONFIG among its extensions. RFC 5061 §4.2.7
    private static func namesReconfiguration(_ chunk: [UInt8]) -> Bool {
        var offset = Field.initiationEnd
        while chunk.count - offset >= 4 {
            let end = offset + Int(chunk.uint16(at: offset + 2))
            guard end >= offset + 4, end <= chunk.count else { return false }
            if chunk.uint16(at: offset) == 0x8008, chunk[(offset + 4)..<end].contains(SCTPChunks.reconfiguration) {
                return true
            }
            offset = (end + 3) & ~3
        }
        return false
    }

    private mutating func incomingRequests(_ chunk: [UInt8]) -> [UInt8] {
        var result = Array(chunk.prefix(Field.parameters))
        Self.forEachParameter(in: chunk) { type, bytes in
            var bytes = bytes
            switch type {
            case Request.resetOutgoing where bytes.count >= Field.responseSequence + 4:
                bytes.add(peerForged, at: Field.sequence)
                bytes.add(ownAnswered, at: Field.responseSequence)
            case Request.response: bytes.add(ownAnswered, at: Field.sequence)
            case Request.addOutgoing where bytes.count >= Field.result + 2:
                bytes.add(peerForged, at: Field.sequence)
                if bytes.uint32(at: Field.sequence) == nextPeerRequest {
                    announced = min(announced + Int(bytes.uint16(at: Field.result)), Int(UInt16.max))
                }
            default: bytes.add(peerForged, at: Field.sequence)
            }
            result.pad()
            result.append(contentsOf: bytes)
        }
        result.set(UInt16(clamping: result.count), at: Field.length)
        return result
    }

    /// A request in the peer's name for so many more streams; nil if nothing is known of the peer.
    mutating func request(adding count: Int, from remotePort: UInt16, to localPort: UInt16) -> [UInt8]? {
        guard let ownTag, let count = UInt16(exactly: count) else { return nil }
        forgedRequest = nextPeerRequest
        return Self.packet(
            from: remotePort,
            to: localPort,
            tag: ownTag,
            type: Request.addOutgoing,
            nextPeerRequest,
            UInt32(count) << 16
        )
    }

    /// usrsctp has taken the request that was made last.
    mutating func requestTaken() {
        peerForged &+= 1
        nextPeerRequest &+= 1
    }

    // MARK: Private

    /// Calls `body` with the type and the bytes of each parameter of a RE-CONFIG chunk that has a sequence number.
    private static func forEachParameter(in chunk: [UInt8], _ body: (UInt16, [UInt8]) -> Void) {
        var offset = Field.parameters
        while chunk.count - offset >= Field.sequence + 4 {
            let end = offset + Int(chunk.uint16(at: offset + 2))
            guard end >= offset + Field.sequence + 4, end <= chunk.count else { return }
            body(chunk.uint16(at: offset), Array(chunk[offset..<end]))
            offset = (end + 3) & ~3
        }
    }

    /// A packet with a RE-CONFIG chunk that has one parameter of two numbers.
    private static func packet(
        from remotePort: UInt16,
        to localPort: UInt16,
        tag: UInt32,
        type: UInt16,
        _ first: UInt32,
        _ second: UInt32
    ) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(remotePort)
        writer.write(localPort)
        writer.write(tag)
        writer.write(UInt32(0))
        writer.write(SCTPChunks.reconfiguration)
        writer.write(UInt8(0))
        writer.write(UInt16(16))
        writer.write(type)
        writer.write(UInt16(12))
        writer.write(first)
        writer.write(second)
        return writer.bytes
    }

    /// Offsets in a chunk, or in a parameter of RE-CONFIG. RFC 9260 §3.3.2, RFC 6525 §4
    private enum Field {
        static let length = 2
        static let parameters = 4
        static let tag = 4
        static let outgoingStreams = 12
        static let incomingStreams = 14
        static let initialTSN = 16
        static let initiationEnd = 20
        static let sequence = 4
        static let responseSequence = 8
        static let result = 8
    }

    /// Types and results of RFC 6525 §4.
    private enum Request {
        static let resetOutgoing: UInt16 = 13
        static let response: UInt16 = 16
        static let addOutgoing: UInt16 = 17
        static let performed: UInt32 = 1
        static let badSequenceNumber: UInt32 = 5
    }
}

extension [UInt8] {
    fileprivate func uint16(at offset: Int) -> UInt16 { UInt16(self[offset]) << 8 | UInt16(self[offset + 1]) }

    fileprivate func uint32(at offset: Int) -> UInt32 {
        UInt32(uint16(at: offset)) << 16 | UInt32(uint16(at: offset + 2))
    }

    fileprivate mutating func set(_ value: UInt16, at offset: Int) {
        self[offset] = UInt8(value >> 8)
        self[offset + 1] = UInt8(value & 0xFF)
    }

    fileprivate mutating func add(_ value: UInt32, at offset: Int) {
        let sum = uint32(at: offset) &+ value
        set(UInt16(sum >> 16), at: offset)
        set(UInt16(sum & 0xFFFF), at: offset + 2)
    }

    /// Zeros up to a multiple of four bytes.
    fileprivate mutating func pad() { while count % 4 != 0 { append(0) } }
}
