package import SansIO

/// The data channels of one connection and the SCTP association under them. RFC 8831, RFC 8832
///
/// Confined to one event loop.
package final class DataChannelTable {
    package private(set) var isConnected = false
    package internal(set) var statistics = DataChannelStatistics()

    final class Channel {
        enum State { case waiting, opening, open, closing, closed }
        let handle: DataChannelHandle
        let parameters: DataChannelParameters
        var id: UInt16?
        var state = State.waiting
        /// Whether the peer knows the channel: before that unordered messages go in order (RFC 8832 §6).
        var isConfirmed = false
        var bufferedAmount = 0
        var reportedAmount = 0
        /// Whether OPEN was given to SCTP, which may be before the association is up.
        var hasSentOpen = false
        var hasResetOutgoing = false
        /// Whether the channel is in `laterResets`.
        var hasLaterReset = false
        /// Until when a reset waits for the peer to confirm the channel.
        var confirmDeadline: Instant?
        var isOutgoingReset = false
        var isIncomingReset = false
        /// What waits for room in usrsctp's buffer, oldest first.
        var queue = RingQueue<Queued>()
        var queuedByteCount = 0
        /// Whether the channel is in `ready`.
        var isReady = false
        /// Whether it has had its share of the present round.
        var hasShare = false
        /// Bytes that it may send in this round.
        var credit = 0
        /// Whether `bufferedAmount` is to be reported.
        var isTouched = false
        /// Bytes of label and protocol, of a channel that the peer opened.
        var nameByteCount = 0

        init(handle: DataChannelHandle, parameters: DataChannelParameters) {
            self.handle = handle
            self.parameters = parameters
        }

        var reliability: SCTPAssociation.Reliability {
            if let count = parameters.maxRetransmits { return .retransmits(count) }
            if let milliseconds = parameters.maxPacketLifeTime { return .lifetime(milliseconds: milliseconds) }
            return .reliable
        }

        /// What a channel may send before it is another's turn: in proportion to its priority, within bounds.
        ///
        /// RFC 8831 §6.4, RFC 8260 §3.6
        var share: Int { min(max(Int(parameters.priority), 64), 4_096) * 32 }
    }

    struct Queued {
        var ppid: UInt32
        var bytes: [UInt8]
        /// Bytes that count as buffered: not the one that stands for an empty message.
        var byteCount: Int
    }

    enum PPID {
        static let text: UInt32 = 51
        static let binaryPartial: UInt32 = 52
        static let binary: UInt32 = 53
        static let textPartial: UInt32 = 54
        static let emptyText: UInt32 = 56
        static let emptyBinary: UInt32 = 57
    }

    /// The longest message that is sent, whatever the peer takes: usrsctp's buffer must hold it at once.
    package static let sendByteLimit = SCTPStack.sendBufferByteCount / 2
    /// Bytes that may wait in a channel beyond usrsctp's own buffer.
    package static let queueByteLimit = 96 << 20
    /// Channels that the peer may have open at once.
    package static let channelLimit = 65_535
    /// Bytes of labels and protocols of the channels that the peer may have open at once.
    package static let nameByteLimit = 8 << 20
    /// How long after the last packet the fast clock runs on.
    private static let activeTime = Duration.seconds(1)
    private static let idleTick = Duration.milliseconds(500)
    /// The slow clock's step while nothing is under way: no timer that matters runs then.
    private static let restTick = Duration.seconds(5)
    /// The fast clock's step, which each message needs: a Duration's arithmetic has 128 bits.
    private static let tickNanoseconds = SCTPStack.tick.wholeNanoseconds

    private let configuration: SCTPConfiguration
    /// Lengths of packets that the path may take.
    private var packetCandidates: [Int] = []
    var association: SCTPAssociation?
    private var channels: [DataChannelHandle: Channel] = [:]
    private var byID: [UInt16: Channel] = [:]
    var events: [DataChannelEvent] = []
    private var eventHead = 0
    /// Channels with queued messages, the one whose turn it is first: deficit round robin.
    var ready = RingQueue<Channel>()
    /// Channels whose reset must wait.
    var laterResets: [Channel] = []
    /// Streams of refused channels whose reset is on its way.
    private var refusedStreams: Set<UInt16> = []
    private var nameByteCount = 0
    /// No id of ours below it is free.
    private var lowestFreeID: UInt16 = 0
    private var nextHandle = 0
    private var isClient = true
    private var hasRole = false
    private var remoteMaxMessageSize = 65_536
    /// Streams that this side may send on: what it asked for, or fewer if the peer takes fewer.
    package private(set) var streamLimit: UInt16
    private var tickAt: Instant?
    private var touchedAt: Instant?
    private var isClockSlow = false
    private var hasStarted = false
    private var isEnded = false
    private var wakeUp: (@Sendable () -> Void)?

    package init(configuration: SCTPConfiguration) {
        self.configuration = configuration
        streamLimit = configuration.streamCount
    }

    /// Called from any thread when the owner should drain although nothing arrived.
    package func setWakeUp(_ wakeUp: (@Sendable () -> Void)?) {
        self.wakeUp = wakeUp
        association?.setWakeUp(wakeUp)
    }

    // MARK: Commands

    /// Opens a channel; before the association is up it waits.
    package func open(_ parameters: DataChannelParameters) throws(DataChannelError) -> DataChannelHandle {
        guard !isEnded else { throw .associationClosed }
        if parameters.negotiated, let id = parameters.id {
            guard byID[id] == nil else { throw .idInUse(id) }
            guard id < streamLimit else { throw .idOutOfRange(id, limit: streamLimit) }
        }
        guard channels.count < Self.channelLimit else { throw .noFreeID }
        let channel = addChannel(parameters)
        if parameters.negotiated, let id = parameters.id {
            channel.id = id
            byID[id] = channel
            channel.isConfirmed = true
        }
        if isConnected {
            do throws(DataChannelError) {
                try begin(channel)
            } catch {
                channels[channel.handle] = nil
                if let id = channel.id { free(id) }
                throw error
            }
        }
        return channel.handle
    }

    /// Makes the association and its INIT ahead of `start`, in time that has nothing better to do.
    ///
    /// What it sends waits until packets are drained.
    package func prepare(remotePort: UInt16, at now: Instant) {
        guard association == nil, !isEnded else { return }
        do throws(SCTPError) { try makeAssociation(at: now).connect(remotePort: remotePort) } catch { end(error) }
    }

    /// The path that packets take from now on, as far as it is known.
    ///
    /// The association's first path bounds the length of its packets for good.
    ///
    /// - Parameters:
    ///   - path: the path.
    ///   - recordSizeLimit: the longest packet that the peer's DTLS says it reads; nil if it does not say.
    package func setPath(_ path: SCTPPath, recordSizeLimit: Int?) {
        packetCandidates = path.candidates(recordSizeLimit: recordSizeLimit)
        association?.pathChanged(candidates: packetCandidates)
    }

    /// Starts the association, once DTLS is up.
    ///
    /// - Parameters:
    ///   - isClient: whether this side is the DTLS client, which takes the even ids (RFC 8832 §6).
    ///   - remotePort: the peer's SCTP port, as in `prepare` if that was called.
    ///   - remoteMaxMessageSize: the longest message that the peer takes, in bytes.
    ///   - now: the present.
    package func start(dtlsRole isClient: Bool, remotePort: UInt16, remoteMaxMessageSize: Int, at now: Instant) {
        guard !hasStarted, !isEnded else { return }
        hasStarted = true
        self.isClient = isClient
        self.remoteMaxMessageSize = min(remoteMaxMessageSize, Self.sendByteLimit)
        hasRole = true
        do throws(SCTPError) {
            if association == nil { try makeAssociation(at: now).connect(remotePort: remotePort) }
            sendOpensAhead()
        } catch {
            end(error)
        }
        touch(at: now)
    }

    private func makeAssociation(at now: Instant) -> SCTPAssociation {
        let made = SCTPAssociation(configuration: configuration, candidates: packetCandidates)
        association = made
        made.setWakeUp(wakeUp)
        made.advance(to: now)
        return made
    }

    /// Gives SCTP the OPEN of the channels that wait: it sends them in one packet with COOKIE ECHO (RFC 9260 §5.1).
    private func sendOpensAhead() {
        for channel in channels.values.sorted(by: { $0.handle.rawValue < $1.handle.rawValue })
        where channel.state == .waiting && !channel.parameters.negotiated {
            guard takeID(channel), case .sent = sendOpen(channel) else { return }
            channel.hasSentOpen = true
        }
    }

    /// Sends a message, or queues it.
    ///
    /// - Parameters:
    ///   - message: its bytes.
    ///   - isText: whether they are UTF-8.
    ///   - handle: the channel.
    ///   - now: the present.
    ///   - moreFollows: whether other messages come before the packets are drained; short ones then share packets.
    /// - Throws: why it is not sent.
    package func send(
        _ message: RawSpan,
        isText: Bool,
        on handle: DataChannelHandle,
        at now: Instant,
        moreFollows: Bool = false
    ) throws(DataChannelError) {
        guard let channel = channels[handle], channel.state == .open || channel.state == .opening else {
            throw .notOpen
        }
        guard message.byteCount <= remoteMaxMessageSize else { throw .messageTooLarge(limit: remoteMaxMessageSize) }
        touch(at: now)
        let isEmpty = message.byteCount == 0
        let ppid = isText ? (isEmpty ? PPID.emptyText : PPID.text) : (isEmpty ? PPID.emptyBinary : PPID.binary)
        if isEmpty {
            // SCTP has no empty messages: one byte stands for it. RFC 8831 §6.6
            enqueueOrSend(channel, ppid: ppid, bytes: [0], byteCount: 0)
            return count(message)
        }
        if ready.isEmpty {
            switch sendNow(channel, ppid: ppid, message, moreFollows: moreFollows) {
            case .sent: return count(message)
            case .failed(let number): throw .association(.system("send", number))
            case .blocked, .noStream: break
            }
        }
        guard channel.queuedByteCount + message.byteCount <= Self.queueByteLimit else {
            throw .bufferFull(limit: Self.queueByteLimit)
        }
        enqueue(channel, ppid: ppid, bytes: message.array(), byteCount: message.byteCount)
        count(message)
    }

    private func count(_ message: RawSpan) {
        statistics.messagesSent += 1
        statistics.bytesSent += message.byteCount
    }

    package func bufferedAmount(of handle: DataChannelHandle) -> Int { channels[handle]?.bufferedAmount ?? 0 }

    /// Closes a channel once what was queued on it has been given to SCTP. RFC 8831 §6.7
    package func close(_ handle: DataChannelHandle, at now: Instant) {
        guard let channel = channels[handle] else { return }
        switch channel.state {
        case .waiting where !channel.hasSentOpen: remove(channel)
        case .waiting, .opening, .open:
            channel.state = .closing
            touch(at: now)
            beginReset(channel, at: now)
        case .closing, .closed: break
        }
    }

    /// Stops reading what arrives: the receive window closes and the peer slows down.
    package func setReadingPaused(_ isPaused: Bool, at now: Instant) {
        guard let association, association.isReadingPaused != isPaused else { return }
        if isPaused {
            association.isReadingPaused = true
        } else {
            association.resumeReading()
            touch(at: now)
            readEvents()
        }
    }

    /// Ends the association at once.
    package func shutdown(at now: Instant) {
        association?.close()
        end(nil)
    }

    // MARK: Inputs

    /// Takes one SCTP packet.
    package func receive(_ packet: RawSpan, at now: Instant) {
        guard let association else { return }
        setClock(to: now)
        association.now = now
        guard association.receive(packet) else {
            statistics.dropped += 1
            return
        }
        touch(at: now)
        readEvents()
    }

    package func handleTimeout(at now: Instant) {
        guard let association, let tickAt, tickAt <= now else { return }
        association.advance(to: now)
        readEvents()
        flushQueue()
        scheduleTick(at: now)
    }

    // MARK: Outputs

    package var nextDeadline: Deadline? {
        guard association != nil, !isEnded else { return nil }
        return tickAt.map { Deadline($0, "SCTP clock") }
    }

    package func nextEvent() -> DataChannelEvent? {
        guard eventHead < events.count else {
            if eventHead > 0 {
                events.removeAll(keepingCapacity: true)
                eventHead = 0
            }
            return nil
        }
        defer { eventHead += 1 }
        return events[eventHead]
    }

    /// Hands every outgoing packet to `body`, and what may happen to it on too narrow a path.
    ///
    /// Also takes in what others' calls left.
    package func drainPackets(_ body: (UnsafeRawBufferPointer, Fragmentation) -> Void) {
        guard let association else { return }
        readEvents()
        flushQueue()
        while unsafe association.drainPackets(body) {}
    }

    // MARK: Channels

    private func addChannel(_ parameters: DataChannelParameters) -> Channel {
        let channel = Channel(handle: DataChannelHandle(rawValue: nextHandle), parameters: parameters)
        nextHandle += 1
        channels[channel.handle] = channel
        return channel
    }

    private func begin(_ channel: Channel) throws(DataChannelError) {
        guard channel.state == .waiting else { return }
        guard takeID(channel), let id = channel.id else { throw .noFreeID }
        guard id < streamLimit else { throw .idOutOfRange(id, limit: streamLimit) }
        channel.state = .open
        statistics.opened += 1
        if !channel.parameters.negotiated, !channel.hasSentOpen {
            channel.hasSentOpen = true
            enqueueOrSend(channel, ppid: DCEP.ppid, bytes: DCEP.open(channel.parameters), byteCount: 0)
        }
        // Data may follow OPEN at once (RFC 8832 §6).
        events.append(.opened(channel.handle, id: id))
    }

    private func sendOpen(_ channel: Channel) -> SCTPAssociation.SendResult {
        let message = DCEP.open(channel.parameters)
        return unsafe sendNow(channel, ppid: DCEP.ppid, message.span.bytes)
    }

    /// Gives a channel an id if it has none; false if all are in use.
    private func takeID(_ channel: Channel) -> Bool {
        if channel.id != nil { return true }
        guard let id = freeID() else { return false }
        channel.id = id
        byID[id] = channel
        return true
    }

    private func freeID() -> UInt16? {
        // Odd or even as the role wants it.
        var id = Int(lowestFreeID) & ~1 | (isClient ? 0 : 1)
        while id < Int(streamLimit), let candidate = UInt16(exactly: id) {
            if byID[candidate] == nil {
                lowestFreeID = candidate
                return candidate
            }
            id += 2
        }
        lowestFreeID = streamLimit
        return nil
    }

    func remove(_ channel: Channel, keepsID: Bool = false) {
        channels[channel.handle] = nil
        if !keepsID, let id = channel.id, byID[id] === channel { free(id) }
        channel.state = .closed
        channel.queue = RingQueue()
        nameByteCount -= channel.nameByteCount
        statistics.closed += 1
        events.append(.closed(channel.handle))
    }

    private func free(_ id: UInt16) {
        byID[id] = nil
        lowestFreeID = min(lowestFreeID, id)
    }

    private func finishIfReset(_ channel: Channel) {
        if channel.isIncomingReset && channel.isOutgoingReset { remove(channel) }
    }

    private func end(_ error: SCTPError?) {
        guard !isEnded else { return }
        isEnded = true
        isConnected = false
        tickAt = nil
        ready = RingQueue()
        laterResets = []
        for channel in channels.values.sorted(by: { $0.handle.rawValue < $1.handle.rawValue }) {
            if let error { events.append(.failed(channel.handle, error)) }
            remove(channel)
        }
        events.append(.associationClosed(error))
    }

    // MARK: Receiving

    private func readEvents() {
        association?.readEvents { event in
            switch event {
            case .connected(let streamCount):
                isConnected = true
                streamLimit = min(streamLimit, streamCount)
                events.append(.associationConnected)
                for channel in channels.values.sorted(by: { $0.handle.rawValue < $1.handle.rawValue }) {
                    // Closed since its OPEN left: the peer learns of both.
                    resetIfFlushed(channel)
                    do throws(DataChannelError) { try begin(channel) } catch { remove(channel) }
                }
            case .closed(let error):
                association?.close()
                end(error)
            case .message(let stream, let ppid, let bytes): receive(bytes, ppid: ppid, stream: stream)
            case .incomingReset(let listed):
                // No list means all of them. RFC 6525 §4.1
                let streams = listed.isEmpty ? byID.keys.sorted() : listed
                for stream in streams {
                    guard let channel = byID[stream] else { continue }
                    channel.isIncomingReset = true
                    if channel.state == .open || channel.state == .opening {
                        channel.state = .closing
                        events.append(.closing(channel.handle))
                    }
                    resetIfFlushed(channel)
                    finishIfReset(channel)
                }
            case .outgoingReset(let streams, let isDone):
                for stream in streams {
                    refusedStreams.remove(stream)
                    // The id may have another channel by now.
                    guard let channel = byID[stream], channel.hasResetOutgoing else { continue }
                    // A peer that refuses keeps its half; the channel is over for us.
                    channel.isOutgoingReset = true
                    if !isDone { channel.isIncomingReset = true }
                    finishIfReset(channel)
                }
            }
        }
    }

    private func receive(_ bytes: [UInt8], ppid: UInt32, stream: UInt16) {
        if ppid == DCEP.ppid { return receiveDCEP(bytes, stream: stream) }
        guard let channel = byID[stream],
            channel.state == .open || channel.state == .opening || channel.state == .closing
        else {
            statistics.dropped += 1
            return
        }
        channel.isConfirmed = true
        let isText: Bool
        var bytes = bytes
        switch ppid {
        case PPID.text, PPID.textPartial: isText = true
        case PPID.binary, PPID.binaryPartial: isText = false
        case PPID.emptyText, PPID.emptyBinary:
            isText = ppid == PPID.emptyText
            bytes = []
        default:
            statistics.dropped += 1
            return
        }
        statistics.messagesReceived += 1
        statistics.bytesReceived += bytes.count
        events.append(.message(channel.handle, isText: isText, bytes))
    }

    private func receiveDCEP(_ bytes: [UInt8], stream: UInt16) {
        switch unsafe DCEP.parse(bytes.span.bytes) {
        case .open(var parameters):
            // A peer may open only ids of its own parity that are free and that we can answer on; anything else is an
            // error of its.
            let names = parameters.label.utf8.count + parameters.protocol.utf8.count
            // Who opens a channel anew has let go of the old one, although its answer to our reset was lost.
            if let old = byID[stream], old.isIncomingReset, old.hasResetOutgoing { remove(old) }
            guard byID[stream] == nil, !refusedStreams.contains(stream) else {
                statistics.dropped += 1
                return
            }
            guard channels.count < Self.channelLimit, stream < streamLimit, (stream % 2 == 0) != isClient,
                nameByteCount + names <= Self.nameByteLimit
            else { return refuse(stream) }
            parameters.id = stream
            let channel = addChannel(parameters)
            channel.nameByteCount = names
            nameByteCount += names
            channel.id = stream
            channel.state = .open
            channel.isConfirmed = true
            byID[stream] = channel
            statistics.opened += 1
            enqueueOrSend(channel, ppid: DCEP.ppid, bytes: DCEP.acknowledgement, byteCount: 0)
            events.append(.incoming(channel.handle, parameters, id: stream))
        case .acknowledgement: if let channel = byID[stream] { confirm(channel) }
        case nil:
            // A channel's own stream goes on; without one, the peer learns that none came about.
            if byID[stream] == nil { refuse(stream) } else { statistics.dropped += 1 }
        }
    }

    /// Counts what cannot open a channel, and tells the peer by closing the stream.
    ///
    /// The receiver of a DATA_CHANNEL_OPEN that it cannot follow "MUST close the corresponding data channel". RFC 8832 §6
    private func refuse(_ stream: UInt16) {
        statistics.dropped += 1
        guard stream < streamLimit, !refusedStreams.contains(stream) else { return }
        if case .requested? = association?.resetOutgoing(stream) { refusedStreams.insert(stream) }
    }

    // MARK: Clock

    /// usrsctp's timers run on ticks of 10 ms while packets flow and for a second after; then slowly, since a
    /// retransmission that is a second old may well come half a second later.
    private func touch(at now: Instant) {
        setClock(to: now)
        association?.now = now
        touchedAt = now
        let due = Instant(nanoseconds: now.nanoseconds + Self.tickNanoseconds)
        if tickAt.map({ $0 > due }) ?? true { tickAt = due }
    }

    /// Brings usrsctp's clock up to date where it ran slowly.
    ///
    /// Its timers count from where it stands: one that starts now would else expire as much too soon, and be kept from
    /// harm only by usrsctp's look at the age of what it would send again.
    private func setClock(to now: Instant) {
        guard isClockSlow else { return }
        isClockSlow = false
        association?.advance(to: now)
    }

    /// Whether nothing was sent or asked for whose answer is missing.
    private var isAtRest: Bool {
        isConnected && ready.isEmpty && laterResets.isEmpty && association?.isAtRest == true
    }

    private func scheduleTick(at now: Instant) {
        if let touchedAt, now - touchedAt < Self.activeTime {
            tickAt = now + SCTPStack.tick
        } else {
            isClockSlow = true
            // On multiples, which the idle associations of a program share: one wake-up serves them all.
            let step = (isAtRest ? Self.restTick : Self.idleTick).wholeNanoseconds
            tickAt = Instant(nanoseconds: (now.nanoseconds / step + 1) * step)
        }
    }
}
