import Locking
import Testing

@testable import PeerConnection

/// A connection that only writes down what a channel wants of it; its event loop turns when the test says so.
final class RecordingLink: DataChannelLink {
    private let state = Mutex(State())
    private struct State {
        var work: [@Sendable () -> Void] = []
        var sent: [OutgoingMessage] = []
        var closed: [Int] = []
        var pressureChanges = 0
    }

    let maxMessageSize = 100
    let unread = UnreadAccount()
    var sent: [OutgoingMessage] { state.withLock { $0.sent } }
    var closed: [Int] { state.withLock { $0.closed } }
    var pressureChanges: Int { state.withLock { $0.pressureChanges } }

    func send(_ message: OutgoingMessage) { state.withLock { $0.sent.append(message) } }
    func close(channel: Int) { state.withLock { $0.closed.append(channel) } }
    func readingPressureChanged(channel: Int) { state.withLock { $0.pressureChanges += 1 } }
    func execute(_ work: @escaping @Sendable () -> Void) { state.withLock { $0.work.append(work) } }

    func turn() {
        let work = state.withLock { state in
            defer { state.work = [] }
            return state.work
        }
        for piece in work { piece() }
    }
}

/// What a handler was given.
final class Received: Sendable {
    private let messages = Mutex<[RTCDataChannelMessage]>([])
    var all: [RTCDataChannelMessage] { messages.withLock { $0 } }
    func add(_ message: RTCDataChannelMessage) { messages.withLock { $0.append(message) } }
}

/// The rules of webrtc-pc §6.2 that need no network.
@Suite struct DataChannelStates {
    private let link = RecordingLink()

    private func channel(_ options: RTCDataChannelInit = .init()) -> RTCDataChannel {
        RTCDataChannel(key: 1, label: "x", options: options, link: link)
    }

    @Test func sendingUnlessOpenIsAnInvalidState() {
        let channel = channel()
        func check() {
            #expect { try channel.send("a") } throws: { ($0 as? RTCError)?.name == .invalidStateError }
            #expect { try channel.send([1] as [UInt8]) } throws: { ($0 as? RTCError)?.name == .invalidStateError }
            // Too long besides: the state comes first.
            #expect { try channel.send([UInt8](repeating: 0, count: 101)) } throws: {
                ($0 as? RTCError)?.name == .invalidStateError
            }
        }
        check()
        channel.didOpen(id: 4)
        #expect(throws: Never.self) { try channel.send("a") }
        channel.close()
        #expect(channel.readyState == .closing)
        check()
        channel.didClose()
        #expect(channel.readyState == .closed)
        check()
        #expect(link.sent.count == 1)
    }

    @Test func tooLongAMessageIsATypeError() throws {
        let channel = channel()
        channel.didOpen(id: 0)
        try channel.send([UInt8](repeating: 0, count: 100))
        #expect { try channel.send([UInt8](repeating: 0, count: 101)) } throws: {
            ($0 as? RTCError)?.name == .typeError
        }
        // Counted in UTF-8.
        #expect { try channel.send(String(repeating: "é", count: 51)) } throws: {
            ($0 as? RTCError)?.name == .typeError
        }
        #expect(link.sent.map(\.bytes.count) == [100])
        #expect(channel.bufferedAmount == 100)
    }

    @Test func bufferedAmountFallsAsTheEngineTakesMessages() async throws {
        let channel = channel()
        channel.didOpen(id: 0)
        channel.bufferedAmountLowThreshold = 50
        var events = channel.events.makeAsyncIterator()
        #expect(await events.next() == .open)
        try channel.send([UInt8](repeating: 0, count: 100))
        try channel.send([UInt8](repeating: 0, count: 40))
        #expect(channel.bufferedAmount == 140)
        channel.didHandOver(byteCount: 100, engineBytes: 100)
        #expect(channel.bufferedAmount == 140)
        channel.didHandOver(byteCount: 40, engineBytes: 60)
        channel.setEngineBytes(50)
        channel.setEngineBytes(0)
        await channel.waitUntilBufferedAmountIsLow()
        try channel.send([UInt8](repeating: 0, count: 60))
        channel.didHandOver(byteCount: 60, engineBytes: 0)
        channel.didClose()
        var seen: [RTCDataChannel.Event] = []
        while let event = await events.next() { seen.append(event) }
        #expect(seen == [.bufferedAmountLow, .bufferedAmountLow, .close], "once for each fall below the threshold")
    }

    @Test func moreThanTheBufferTakesIsAnOperationError() throws {
        let channel = channel()
        channel.didOpen(id: 0)
        channel.setEngineBytes(RTCDataChannel.bufferLimit - 10)
        try channel.send([UInt8](repeating: 0, count: 10))
        #expect { try channel.send([1] as [UInt8]) } throws: { ($0 as? RTCError)?.name == .operationError }
    }

    @Test func theIDIsKnownOnceOpen() {
        let channel = channel()
        #expect(channel.id == nil)
        channel.didOpen(id: 6)
        #expect(channel.id == 6)
    }

    @Test func eventsComeInOrderAndOnce() async {
        let channel = channel()
        let events = channel.events
        channel.didOpen(id: 0)
        channel.didOpen(id: 0)
        channel.didStartClosing()
        channel.didStartClosing()
        channel.didClose()
        channel.didClose()
        var seen: [RTCDataChannel.Event] = []
        for await event in events { seen.append(event) }
        #expect(seen == [.open, .closing, .close])
    }

    @Test func whoAttachesLateLearnsTheState() async {
        let channel = channel()
        channel.didOpen(id: 0)
        var events = channel.events.makeAsyncIterator()
        #expect(await events.next() == .open)
        channel.didClose()
        #expect(await events.next() == .close)
        #expect(await events.next() == nil)
        var late = channel.events.makeAsyncIterator()
        #expect(await late.next() == .close)
        #expect(await late.next() == nil)
    }

    @Test func aChannelClosedBeforeItOpensNeverSaysOpen() async {
        let channel = channel()
        let events = channel.events
        channel.close()
        channel.close()
        #expect(link.closed == [1])
        channel.didOpen(id: 0)
        #expect(channel.readyState == .closing)
        channel.didClose()
        var seen: [RTCDataChannel.Event] = []
        for await event in events { seen.append(event) }
        #expect(seen == [.close])
        await #expect(throws: RTCError.self) { try await channel.waitUntilOpen() }
    }

    // MARK: The message handler

    private func number(_ value: Int) -> RTCDataChannelMessage { .text("\(value)") }

    @Test func aHandlerGetsWhatWaitedFirstAndOnTheEventLoop() {
        let channel = channel()
        let received = Received()
        for value in 0..<3 { channel.inbox.put(number(value)) }
        channel.setMessageHandler { received.add($0) }
        #expect(received.all.isEmpty, "it is called on the event loop alone")
        link.turn()
        #expect(received.all == (0..<3).map(number))
        channel.inbox.put(number(3))
        #expect(received.all == (0..<4).map(number))
    }

    @Test func aMessageThatArrivesBeforeTheLoopTurnsComesAfterThoseThatWaited() {
        let channel = channel()
        let received = Received()
        for value in 0..<3 { channel.inbox.put(number(value)) }
        channel.setMessageHandler { received.add($0) }
        channel.inbox.put(number(3))
        #expect(received.all == (0..<4).map(number))
        link.turn()
        #expect(received.all == (0..<4).map(number))
    }

    @Test func whatWaitedIsHandedOverEvenAfterTheClose() {
        let channel = channel()
        let received = Received()
        channel.didOpen(id: 0)
        channel.inbox.put(number(0))
        channel.didClose()
        channel.setMessageHandler { received.add($0) }
        link.turn()
        #expect(received.all == [number(0)])
    }

    @Test func aHandlerThatTakesItselfAwayLeavesTheRestInOrder() async {
        let channel = channel()
        let received = Received()
        for value in 0..<4 { channel.inbox.put(number(value)) }
        channel.setMessageHandler { [weak channel] message in
            received.add(message)
            if message == .text("1") { channel?.setMessageHandler(nil) }
        }
        link.turn()
        channel.inbox.put(number(4))
        channel.didClose()
        #expect(received.all == (0..<2).map(number))
        var rest: [RTCDataChannelMessage] = []
        for await message in channel.messages { rest.append(message) }
        #expect(rest == (2..<5).map(number))
    }

    @Test func whatAHandlerTakesOverNoLongerHoldsThePeerBack() {
        let channel = channel()
        let received = Received()
        let message = RTCDataChannelMessage.binary([UInt8](repeating: 0, count: 300_000))
        for _ in 0..<4 { channel.inbox.put(message) }
        #expect(channel.inbox.isAboveLimit)
        #expect(link.pressureChanges == 1)
        channel.setMessageHandler { received.add($0) }
        link.turn()
        #expect(!channel.inbox.isAboveLimit)
        #expect(link.pressureChanges == 2)
        #expect(received.all.count == 4)
    }
}
