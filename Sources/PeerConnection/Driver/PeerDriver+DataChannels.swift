internal import Locking
internal import Logging
internal import NIOCore
internal import PeerEngine
internal import SCTP
internal import SansIO

extension PeerDriver {
    /// Opens a channel that the application made.
    ///
    /// On the event loop.
    func open(_ channel: RTCDataChannel) {
        guard !isClosed else { return channel.didClose() }
        channelsByKey[channel.key] = channel
        var parameters = DataChannelParameters(label: channel.label, protocol: channel.protocol)
        parameters.ordered = channel.ordered
        parameters.maxRetransmits = channel.maxRetransmits
        parameters.maxPacketLifeTime = channel.maxPacketLifeTime
        parameters.negotiated = channel.negotiated
        parameters.id = channel.options.id
        parameters.priority = channel.priority.wireValue
        do {
            let handle = try engine.openChannel(parameters)
            handlesByKey[channel.key] = handle
            channelsByHandle[handle] = channel
            updateReading()
        } catch {
            view.deliver(
                .error(
                    RTCError(
                        .operationError,
                        "data channel \"\(channel.label)\": \(error)",
                        errorDetail: .dataChannelFailure
                    )
                )
            )
            channelsByKey[channel.key] = nil
            channel.didClose()
        }
        updateNegotiationNeeded()
        drain()
    }

    func handle(_ event: DataChannelEvent) {
        switch event {
        case .associationConnected:
            let count = Int(engine.channels.streamLimit)
            view.deliver { snapshot in
                snapshot.sctp?.state = .connected
                snapshot.sctp?.maxChannels = count
            }
        case .associationClosed(let error):
            view.deliver { $0.sctp?.state = .closed }
            if let error { log.debug("SCTP ended: \(error)") }
        case .incoming(let handle, let parameters, let id):
            var options = RTCDataChannelInit()
            options.ordered = parameters.ordered
            options.maxRetransmits = parameters.maxRetransmits
            options.maxPacketLifeTime = parameters.maxPacketLifeTime
            options.protocol = parameters.protocol
            options.id = id
            options.priority = RTCPriorityType(wireValue: parameters.priority)
            let channel = RTCDataChannel(key: view.makeKey(), label: parameters.label, options: options, link: self)
            channelsByKey[channel.key] = channel
            handlesByKey[channel.key] = handle
            channelsByHandle[handle] = channel
            channel.didOpen(id: id)
            view.deliver(.dataChannel(channel))
        case .opened(let handle, let id):
            guard let channel = channelsByHandle[handle], channel.readyState == .connecting else { return }
            view.delivery.deliver { channel.didOpen(id: id) }
        case .message(let handle, let isText, let bytes):
            guard let channel = channelsByHandle[handle] else { return }
            channel.inbox.put(isText ? .text(String(decoding: bytes, as: UTF8.self)) : .binary(bytes))
        case .bufferedAmountChanged(let handle, let byteCount):
            channelsByHandle[handle]?.setEngineBytes(byteCount)
        case .closing(let handle):
            guard let channel = channelsByHandle[handle] else { return }
            view.delivery.deliver { channel.didStartClosing() }
        case .failed(let handle, let error):
            guard let channel = channelsByHandle[handle] else { return }
            let failure = RTCError(.operationError, "SCTP: \(error)", errorDetail: .sctpFailure)
            view.delivery.deliver { channel.didFail(failure) }
        case .closed(let handle):
            guard let channel = channelsByHandle.removeValue(forKey: handle) else { return }
            channelsByKey[channel.key] = nil
            handlesByKey[channel.key] = nil
            slowChannels.remove(channel.key)
            updateReading()
            view.delivery.deliver { channel.didClose() }
        }
    }

    /// Hands what `send` left in the outbox to the engine.
    func drainOutbox() {
        let messages = outbox.withLock { outbox -> [OutgoingMessage] in
            outbox.isScheduled = false
            defer { outbox.messages = [] }
            return outbox.messages
        }
        let now = Self.now()
        var index = 0
        while index < messages.count {
            let key = messages[index].channel
            let run = messages[index...].prefix { $0.channel == key }
            if let channel = channelsByKey[key], let handle = handlesByKey[key] {
                handOver(run, of: channel, handle: handle, lastIndex: messages.count - 1, at: now)
            }
            index = run.endIndex
        }
        drain()
    }

    /// Hands messages of one channel to the engine, and tells the channel so in steps: it wakes who waits for room.
    private func handOver(
        _ run: ArraySlice<OutgoingMessage>,
        of channel: RTCDataChannel,
        handle: DataChannelHandle,
        lastIndex: Int,
        at now: Instant
    ) {
        var byteCount = 0
        for index in run.indices {
            let message = run[index]
            do {
                unsafe try engine.channels.send(
                    message.bytes.span.bytes,
                    isText: message.isText,
                    on: handle,
                    at: now,
                    moreFollows: index < lastIndex
                )
            } catch {
                log.warning(
                    "data channel \"\(channel.label)\" dropped a message of \(message.bytes.count) bytes: \(error)"
                )
            }
            byteCount += message.bytes.count
            if byteCount >= Self.handOverByteCount || index == run.endIndex - 1 {
                channel.didHandOver(byteCount: byteCount, engineBytes: engine.channels.bufferedAmount(of: handle))
                byteCount = 0
            }
        }
    }

    func closeChannel(key: Int) {
        // What was queued before goes out first.
        drainOutbox()
        guard let handle = handlesByKey[key] else { return }
        engine.channels.close(handle, at: Self.now())
        updateReading(of: key)
    }

    func updateReading(of key: Int) {
        if channelsByKey[key]?.inbox.isAboveLimit == true {
            slowChannels.insert(key)
        } else {
            slowChannels.remove(key)
        }
        updateReading()
        drain()
    }

    /// Reads on as long as somebody waits for it and memory is left; see ``MessageStream``.
    private func updateReading() {
        let unreadBytes = unread.byteCount
        isUnreadFull = unreadBytes > (isUnreadFull ? UnreadAccount.resumeByteCount : UnreadAccount.byteLimit)
        let areAllSlow = !slowChannels.isEmpty && slowChannels.count == channelsByKey.count
        engine.channels.setReadingPaused(isUnreadFull || areAllSlow, at: Self.now())
    }
}

extension PeerDriver: DataChannelLink {
    nonisolated var maxMessageSize: Int { view.maxMessageSize }

    nonisolated func send(_ message: OutgoingMessage) {
        let mustSchedule = outbox.withLock { outbox -> Bool in
            outbox.messages.append(message)
            defer { outbox.isScheduled = true }
            return !outbox.isScheduled
        }
        if mustSchedule { eventLoop.execute { self.assumeIsolated { $0.drainOutbox() } } }
    }

    nonisolated func close(channel: Int) {
        eventLoop.execute { self.assumeIsolated { $0.closeChannel(key: channel) } }
    }

    nonisolated func execute(_ work: @escaping @Sendable () -> Void) { eventLoop.execute(work) }

    nonisolated func readingPressureChanged(channel: Int) {
        eventLoop.execute { self.assumeIsolated { $0.updateReading(of: channel) } }
    }
}
