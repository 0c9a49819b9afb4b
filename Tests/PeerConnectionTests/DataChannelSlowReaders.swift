import Testing
import TimeSharing

@testable import PeerConnection

/// Several channels of one connection, one of which is read slowly or not at all.
@Suite(.realTime) struct DataChannelSlowReaders {
    /// Negotiated channels of a pair that is then connected; their ids count from 0.
    private func channels(_ count: UInt16, _ pair: ConnectedPair) async throws -> [(RTCDataChannel, RTCDataChannel)] {
        var result: [(RTCDataChannel, RTCDataChannel)] = []
        for id in 0..<count {
            var options = RTCDataChannelInit()
            options.negotiated = true
            options.id = id
            result.append(
                (
                    try pair.first.createDataChannel("\(id)", options: options),
                    try pair.second.createDataChannel("\(id)", options: options)
                )
            )
        }
        try await pair.negotiate()
        for (first, second) in result {
            try await first.waitUntilOpen()
            try await second.waitUntilOpen()
        }
        return result
    }

    @Test(.timeLimit(.minutes(10))) func aChannelThatNobodyReadsDoesNotStopTheOther() async throws {
        let pair = try ConnectedPair()
        let pairs = try await channels(2, pair)
        let (unread, unreadEnd) = pairs[0]
        let (busy, busyEnd) = pairs[1]
        // More than one channel's limit and SCTP's window together, less than what the connection reads ahead.
        for index in 0..<128 as Range<UInt8> {
            try await unread.sendWhenReady([UInt8](repeating: index, count: 1 << 16))
        }
        var messages = busyEnd.messages.makeAsyncIterator()
        for index in 0..<100 {
            try await busy.sendWhenReady("\(index)")
            #expect(await messages.next() == .text("\(index)"))
        }
        // Nothing of the other is lost.
        var others = unreadEnd.messages.makeAsyncIterator()
        for index in 0..<128 as Range<UInt8> {
            #expect(await others.next() == .binary([UInt8](repeating: index, count: 1 << 16)))
        }
    }

    /// Beyond the limit of all the sender is held back; reading lets both go on.
    @Test(.timeLimit(.minutes(10))) func memoryStaysBoundedAndReadingGoesOn() async throws {
        let pair = try ConnectedPair()
        let pairs = try await channels(2, pair)
        let (unread, unreadEnd) = pairs[0]
        let (busy, busyEnd) = pairs[1]
        let count = 640
        let sending = Task {
            for index in 0..<count {
                try await unread.sendWhenReady([UInt8](repeating: UInt8(index & 255), count: 1 << 16))
            }
        }
        // 40 MB do not fit: 16 MiB unread, 8 MiB in the window, 2 MiB in the sender's buffer, 1 MiB before it.
        while unread.bufferedAmount < 1 << 20 { await Task.yield() }
        try busy.send("late")
        var messages = busyEnd.messages.makeAsyncIterator()
        async let answer = messages.next()
        var others = unreadEnd.messages.makeAsyncIterator()
        for index in 0..<count {
            #expect(await others.next() == .binary([UInt8](repeating: UInt8(index & 255), count: 1 << 16)))
        }
        #expect(await answer == .text("late"))
        try await sending.value
    }

    /// Its unread messages do not keep its own close, nor the other channel, from coming through.
    @Test(.timeLimit(.minutes(10))) func aFullChannelCanBeClosedByItsReader() async throws {
        let pair = try ConnectedPair()
        let (first, second) = try await channels(1, pair)[0]
        let sending = Task {
            while true { try await first.sendWhenReady([UInt8](repeating: 1, count: 1 << 16)) }
        }
        while !second.inbox.isAboveLimit { await Task.yield() }
        second.close()
        for await event in second.events { if event == .close { break } }
        #expect(second.readyState == .closed)
        for await event in first.events { if event == .close { break } }
        await #expect(throws: RTCError.self) { try await sending.value }
        // The connection goes on.
        let again = try pair.first.createDataChannel("again")
        try await again.waitUntilOpen()
    }

    /// Beyond the limit of all, where the whole connection has stopped.
    @Test(.timeLimit(.minutes(10))) func closingAFullChannelLetsTheOthersGoOn() async throws {
        let pair = try ConnectedPair()
        let pairs = try await channels(2, pair)
        let (unread, unreadEnd) = pairs[0]
        let (busy, busyEnd) = pairs[1]
        let sending = Task {
            while true { try await unread.sendWhenReady([UInt8](repeating: 1, count: 1 << 16)) }
        }
        while unreadEnd.inbox.account.byteCount <= UnreadAccount.byteLimit {
            try await Task.sleep(for: .milliseconds(1))
        }
        try busy.send("late")
        unreadEnd.close()
        var messages = busyEnd.messages.makeAsyncIterator()
        #expect(await messages.next() == .text("late"))
        await #expect(throws: RTCError.self) { try await sending.value }
    }

    @Test(.timeLimit(.minutes(10))) func theTransportsFactsAreTold() async throws {
        let pair = try ConnectedPair()
        #expect(pair.first.sctp == nil)
        let (first, _) = try await channels(1, pair)[0]
        let facts = try #require(pair.first.sctp)
        #expect(facts.state == .connected && facts.maxMessageSize == 262_144 && facts.maxChannels == 65_535)
        try first.send([UInt8](repeating: 0, count: facts.maxMessageSize))
        pair.first.close()
        #expect(pair.first.sctp?.state == .closed)
    }

    @Test(.timeLimit(.minutes(10))) func anyIDAndEachPriorityCarriesMessages() async throws {
        let pair = try ConnectedPair()
        var opened: [(RTCDataChannel, RTCDataChannel)] = []
        for (id, priority) in zip([0, 999, 1_024, 65_534] as [UInt16], RTCPriorityType.allCases) {
            var options = RTCDataChannelInit()
            options.negotiated = true
            options.id = id
            options.priority = priority
            opened.append(
                (
                    try pair.first.createDataChannel("n", options: options),
                    try pair.second.createDataChannel("n", options: options)
                )
            )
        }
        var options = RTCDataChannelInit()
        options.priority = .high
        let asked = try pair.first.createDataChannel("asked", options: options)
        let events = pair.second.events
        try await pair.negotiate()
        for (first, second) in opened {
            try await first.waitUntilOpen()
            try await second.waitUntilOpen()
            try first.send("there")
            try second.send("back")
            var there = second.messages.makeAsyncIterator()
            var back = first.messages.makeAsyncIterator()
            #expect(await there.next() == .text("there"))
            #expect(await back.next() == .text("back"))
        }
        try await asked.waitUntilOpen()
        for await event in events {
            guard case .dataChannel(let channel) = event else { continue }
            #expect(channel.priority == .high)
            break
        }
    }
}
