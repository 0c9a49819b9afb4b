import Testing

@testable import PeerConnection

/// Tasks that wait for a channel: in order, and let go by a close or a cancellation.
@Suite struct DataChannelWaiting {
    private let link = RecordingLink()

    private func channel() -> RTCDataChannel { RTCDataChannel(key: 1, label: "x", options: .init(), link: link) }

    /// An open channel with so many bytes waiting and room for none.
    private func fullChannel() -> RTCDataChannel {
        let channel = channel()
        channel.didOpen(id: 0)
        channel.bufferedAmountHighThreshold = 100
        channel.setEngineBytes(100)
        return channel
    }

    private func result(of work: () async throws -> Void) async -> RTCError.Name? {
        do {
            try await work()
            return nil
        } catch {
            return (error as? RTCError)?.name
        }
    }

    /// Starts a task that sends, and returns when its message is in the queue.
    private func send(_ byte: UInt8, count: Int = 50, on channel: RTCDataChannel) async -> Task<RTCError.Name?, Never> {
        let before = channel.waitingSendCount
        let task = Task { await result { try await channel.sendWhenReady([UInt8](repeating: byte, count: count)) } }
        while channel.waitingSendCount == before { await Task.yield() }
        return task
    }

    @Test(.timeLimit(.minutes(10))) func withRoomAMessageGoesAtOnce() async throws {
        let channel = channel()
        channel.didOpen(id: 0)
        try await channel.sendWhenReady("hello")
        try await channel.sendWhenReady([1] as [UInt8])
        try await channel.sendWhenReady("")
        #expect(link.sent.map(\.bytes) == [Array("hello".utf8), [1], []])
        #expect(link.sent.map(\.isText) == [true, false, true])
    }

    @Test(.timeLimit(.minutes(10))) func messagesThatWaitGoInOrderAsRoomComes() async {
        let channel = fullChannel()
        var tasks: [Task<RTCError.Name?, Never>] = []
        for byte in 0..<5 as Range<UInt8> { tasks.append(await send(byte, on: channel)) }
        #expect(link.sent.isEmpty)
        channel.setEngineBytes(99)
        #expect(await tasks[0].value == nil)
        // It counts as buffered, so that the next waits.
        #expect(link.sent.map(\.bytes.first) == [0])
        #expect(channel.bufferedAmount == 149)
        channel.didHandOver(byteCount: 50, engineBytes: 0)
        #expect(await tasks[1].value == nil)
        #expect(await tasks[2].value == nil)
        #expect(link.sent.map(\.bytes.first) == [0, 1, 2])
        channel.didHandOver(byteCount: 100, engineBytes: 0)
        #expect(await tasks[3].value == nil)
        #expect(await tasks[4].value == nil)
        #expect(link.sent.map(\.bytes.first) == [0, 1, 2, 3, 4])
    }

    /// The next comer does not overtake who waits, though its message is small.
    @Test(.timeLimit(.minutes(10))) func aLateComerGoesBehindThoseThatWait() async {
        let channel = fullChannel()
        let first = await send(1, on: channel)
        let second = await send(2, count: 0, on: channel)
        #expect(link.sent.isEmpty)
        channel.setEngineBytes(0)
        #expect(await first.value == nil)
        #expect(await second.value == nil)
        #expect(link.sent.map(\.bytes.count) == [50, 0])
    }

    @Test(.timeLimit(.minutes(10))) func aMessageBeforeTheOpeningWaitsForIt() async {
        let channel = channel()
        let task = await send(1, on: channel)
        #expect(link.sent.isEmpty)
        channel.didOpen(id: 0)
        #expect(await task.value == nil)
        #expect(link.sent.count == 1)
    }

    @Test(.timeLimit(.minutes(10))) func aMessageThatCanNeverGoIsATypeErrorAndHoldsUpNobody() async {
        let channel = fullChannel()
        let first = await send(1, on: channel)
        let long = await send(2, count: 101, on: channel)
        let last = await send(3, on: channel)
        channel.setEngineBytes(0)
        #expect(await first.value == nil)
        #expect(await long.value == .typeError)
        channel.didHandOver(byteCount: 50, engineBytes: 0)
        #expect(await last.value == nil)
        #expect(link.sent.map(\.bytes.first) == [1, 3])
    }

    @Test(.timeLimit(.minutes(10)), arguments: 0..<3)
    func aCloseLetsAllWaitersGo(how: Int) async {
        let channel = fullChannel()
        let tasks = [await send(1, on: channel), await send(2, on: channel)]
        switch how {
        case 0: channel.close()
        case 1: channel.didStartClosing()
        default: channel.didClose()
        }
        for task in tasks { #expect(await task.value == .invalidStateError) }
        #expect(await result { try await channel.sendWhenReady("late") } == .invalidStateError)
        channel.setEngineBytes(0)
        #expect(link.sent.isEmpty)
    }

    @Test(.timeLimit(.minutes(10))) func aCancelledMessageIsNotSentAndItsPlaceIsFree() async {
        let channel = fullChannel()
        let first = await send(1, on: channel)
        let second = await send(2, on: channel)
        let third = await send(3, on: channel)
        second.cancel()
        #expect(await second.value == .abortError)
        channel.setEngineBytes(0)
        #expect(await first.value == nil)
        #expect(await third.value == nil)
        #expect(link.sent.map(\.bytes.first) == [1, 3])
        // Cancelled before it begins.
        let late = Task { () -> RTCError.Name? in
            withUnsafeCurrentTask { $0?.cancel() }
            return await result { try await channel.sendWhenReady("late") }
        }
        #expect(await late.value == .abortError)
        #expect(link.sent.count == 2)
    }

    /// Hundreds of tasks, cancelled and admitted at the same time from other threads: each ends exactly once.
    @Test(.timeLimit(.minutes(10))) func cancellationAndRoomMayComeTogether() async {
        let channel = fullChannel()
        channel.setEngineBytes(1_000)
        let tasks = (0..<300).map { index in
            Task { await result { try await channel.sendWhenReady([UInt8(index & 255), UInt8(index >> 8)]) } }
        }
        let cancelling = Task {
            for (index, task) in tasks.enumerated() where index % 3 == 0 {
                task.cancel()
                await Task.yield()
            }
        }
        var handedOver = 0
        while channel.waitingSendCount > 0 || handedOver == 0 {
            let sent = link.sent.count
            channel.didHandOver(byteCount: (sent - handedOver) * 2, engineBytes: 0)
            handedOver = sent
            await Task.yield()
            if tasks.isEmpty { break }
        }
        await cancelling.value
        channel.setEngineBytes(0)
        var accepted = 0
        for task in tasks where await task.value == nil { accepted += 1 }
        #expect(accepted == link.sent.count)
        #expect(accepted >= 200)
    }

    @Test(.timeLimit(.minutes(10))) func whoWaitsForTheOpeningCanBeCancelled() async {
        let channel = channel()
        let waiting = Task { await result { try await channel.waitUntilOpen() } }
        let other = Task { await result { try await channel.waitUntilOpen() } }
        waiting.cancel()
        #expect(await waiting.value == .abortError)
        channel.didOpen(id: 0)
        #expect(await other.value == nil)
    }

    @Test(.timeLimit(.minutes(10))) func whoWaitsForALowBufferCanBeCancelled() async {
        let channel = fullChannel()
        let waiting = Task { await channel.waitUntilBufferedAmountIsLow() }
        waiting.cancel()
        await waiting.value
        #expect(channel.bufferedAmount == 100)
        // A higher threshold lets others go.
        let other = Task { await channel.waitUntilBufferedAmountIsLow() }
        channel.bufferedAmountLowThreshold = 100
        await other.value
    }

    @Test func prioritiesHaveTheirWireValues() {
        #expect(RTCPriorityType.allCases.map(\.wireValue) == [128, 256, 512, 1_024])
        for priority in RTCPriorityType.allCases { #expect(RTCPriorityType(wireValue: priority.wireValue) == priority) }
        #expect(RTCPriorityType(wireValue: 0) == .veryLow && RTCPriorityType(wireValue: 129) == .low)
        #expect(RTCPriorityType(wireValue: 257) == .medium && RTCPriorityType(wireValue: 513) == .high)
        #expect(RTCPriorityType(wireValue: 65_535) == .high)
        #expect(channel().priority == .low)
    }

    // MARK: What is unread

    private func message(_ count: Int) -> RTCDataChannelMessage { .binary([UInt8](repeating: 0, count: count)) }

    @Test(.timeLimit(.minutes(10))) func aReaderThatLeavesLosesNothing() async {
        let channel = channel()
        for index in 0..<10 { channel.inbox.put(.text("\(index)")) }
        var seen: [RTCDataChannelMessage] = []
        for await message in channel.messages {
            seen.append(message)
            if seen.count == 3 { break }
        }
        channel.inbox.put(.text("10"))
        channel.didClose()
        for await message in channel.messages { seen.append(message) }
        #expect(seen == (0..<11).map { .text("\($0)") })
        #expect(link.unread.byteCount == 0)
    }

    @Test(.timeLimit(.minutes(10))) func whatWasReadNoLongerCounts() async {
        let channel = channel()
        for _ in 0..<8 { channel.inbox.put(message(200_000)) }
        #expect(channel.inbox.isAboveLimit)
        var messages = channel.messages.makeAsyncIterator()
        for _ in 0..<6 { _ = await messages.next() }
        #expect(!channel.inbox.isAboveLimit, "long before all is read")
        #expect(link.unread.byteCount == 2 * (200_000 + MessageInbox.messageOverhead))
    }

    @Test func aChannelThatIsReleasedNoLongerCounts() {
        var channel: RTCDataChannel? = channel()
        channel?.inbox.put(message(1_000))
        channel?.didClose()
        #expect(link.unread.byteCount == 1_000 + MessageInbox.messageOverhead)
        channel = nil
        #expect(link.unread.byteCount == 0)
    }

    /// Many channels that are all below their own limit.
    @Test func theLimitOfAllChannelsIsTold() {
        let channels = (0..<20).map { RTCDataChannel(key: $0, label: "x", options: .init(), link: link) }
        for channel in channels { channel.inbox.put(message(900_000)) }
        #expect(channels.allSatisfy { !$0.inbox.isAboveLimit })
        #expect(link.unread.byteCount > UnreadAccount.byteLimit)
        #expect(link.pressureChanges == 1)
        for channel in channels {
            channel.setMessageHandler { _ in }
        }
        link.turn()
        #expect(link.unread.byteCount == 0)
        #expect(link.pressureChanges == 2)
    }

    @Test func whatComesAfterTheOwnCloseIsDropped() {
        let channel = channel()
        channel.didOpen(id: 0)
        for _ in 0..<6 { channel.inbox.put(message(200_000)) }
        #expect(channel.inbox.isAboveLimit)
        channel.close()
        #expect(!channel.inbox.isAboveLimit, "nobody waits for its reader")
        #expect(link.unread.byteCount == 0)
        channel.inbox.put(message(1))
        #expect(link.unread.byteCount == 0)
    }

    /// Else the peer's answer to the close could not come in, nor what the others are sent.
    @Test(.timeLimit(.minutes(10))) func theOwnCloseGivesBackWhatIsUnread() async {
        let channel = channel()
        channel.didOpen(id: 0)
        for _ in 0..<90 { channel.inbox.put(message(200_000)) }
        #expect(link.unread.byteCount > UnreadAccount.byteLimit)
        let before = link.pressureChanges
        channel.close()
        #expect(link.unread.byteCount == 0)
        #expect(link.pressureChanges == before + 1)
        channel.didClose()
        for await _ in channel.messages { Issue.record("nobody was reading it") }
        #expect(link.unread.byteCount == 0)
    }

    @Test(.timeLimit(.minutes(10))) func whoReadsWhileItIsClosedHereReadsOnAndWhatHeLeavesGoes() async {
        let channel = channel()
        channel.didOpen(id: 0)
        for index in 0..<10 { channel.inbox.put(.text("\(index)")) }
        var seen: [RTCDataChannelMessage] = []
        for await message in channel.messages {
            if seen.isEmpty { channel.close() }
            seen.append(message)
            if seen.count == 5 { break }
        }
        #expect(seen == (0..<5).map { .text("\($0)") })
        channel.didClose()
        for await _ in channel.messages { Issue.record("it was left") }
        #expect(link.unread.byteCount == 0)
    }

    @Test(.timeLimit(.minutes(10))) func aFailureIsToldBeforeTheClose() async {
        let channel = channel()
        let events = channel.events
        let error = RTCError(.operationError, "SCTP", errorDetail: .sctpFailure)
        channel.didOpen(id: 0)
        channel.didFail(error)
        channel.didClose()
        channel.didFail(error)
        var seen: [RTCDataChannel.Event] = []
        for await event in events { seen.append(event) }
        #expect(seen == [.open, .error(error), .close])
    }
}
