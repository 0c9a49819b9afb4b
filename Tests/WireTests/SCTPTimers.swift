import SansIO
import Synchronization
import Testing

@testable import SCTP

extension VirtualTime {
    @Suite struct SCTPTimers {
        @Test func anIdleAssociationSendsNothingAndWakesEveryFiveSeconds() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.run(for: .seconds(3))
            let wakeUps = pair.wakeUpCount
            let packets = pair.clientPacketCount + pair.serverPacketCount
            pair.run(for: .seconds(3_000))
            #expect(pair.wakeUpCount - wakeUps <= 2 * 3_000 / 5 + 2)
            #expect(pair.clientPacketCount + pair.serverPacketCount == packets)

            // After an hour nothing is sent twice.
            try pair.send([1], on: client)
            pair.run(for: .seconds(1))
            #expect(pair.serverEvents.contains { $0.messageBytes == [1] })
            #expect(pair.clientPacketCount + pair.serverPacketCount == packets + 2)
        }

        @Test func anAssociationWithoutAnswerWakesTwiceASecond() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.run(for: .seconds(30))
            pair.link.loss = 1
            try pair.send([9], on: client)
            pair.run(for: .seconds(5))
            let wakeUps = pair.wakeUpCount
            pair.run(for: .seconds(20))
            // The server has sent nothing that is missing.
            #expect((2 * 20 - 2...2 * 20 + 6).contains(pair.wakeUpCount - wakeUps))
        }

        /// Also after a pause in which usrsctp's clock ran slowly: its timers count from where that stands.
        @Test(arguments: [1_490, 4_900, 5_000, 13_700, 14_950])
        func aLostPacketIsSentAgainAfterTheLeastTimeOut(pause: Int) throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.run(for: .milliseconds(pause))
            pair.link.loss = 1
            try pair.send([9], on: client)
            pair.drain()
            pair.link.loss = 0
            let before = pair.now
            #expect(pair.run(for: .seconds(5)) { $0.serverEvents.contains { $0.messageBytes == [9] } })
            #expect(pair.now - before < .milliseconds(Int64(SCTPStack.leastTimeout) * 3 / 2))
        }

        @Test func aPeerThatIsGoneEndsTheAssociation() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.link.loss = 1
            try pair.send([9], on: client)
            #expect(pair.run(for: .seconds(600)) { !$0.client.isConnected })
            #expect(
                pair.clientEvents.suffix(2) == [.closed(client), .associationClosed(.lost("the peer does not answer"))]
            )
            #expect(pair.client.nextDeadline == nil)
        }

        @Test func anAssociationOutlivesAMinuteWithoutAPath() throws {
            let pair = SCTPPair()
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.link.loss = 1
            try pair.send([9], on: client)
            pair.run(for: .seconds(60))
            pair.link.loss = 0
            #expect(pair.run(for: .seconds(15)) { $0.serverEvents.contains { $0.messageBytes == [9] } })
        }

        @Test func aPeerThatNeverAnswersFailsTheHandshake() {
            let pair = SCTPPair(link: SCTPPair.Link(loss: 1))
            pair.start()
            pair.run(for: .seconds(200))
            #expect(pair.clientEvents == [.associationClosed(.lost("the peer does not answer"))])
            #expect(pair.client.nextDeadline == nil)
        }

        @Test func theHandshakeSurvivesLosses() {
            for seed in 1...20 as ClosedRange<UInt64> {
                let pair = SCTPPair(seed: seed, link: SCTPPair.Link(loss: 0.3))
                #expect(pair.connect(), "seed \(seed)")
            }
        }

        /// RFC 9260 §5.1: a peer that has not seen the COOKIE ECHO would abort.
        @Test func nothingFollowsACookieEchoBeforeItIsAcknowledged() throws {
            let pair = SCTPPair()
            let channel = try pair.client.open(DataChannelParameters(label: "x"))
            var isAwaited = false
            var followerCount = 0
            var bundledCount = 0
            pair.onPacket = { fromClient, packet in
                guard packet.count > 12 else { return }
                if !fromClient {
                    if packet[12] == 11 { isAwaited = false }
                } else if packet[12] == 10 {
                    isAwaited = true
                    // It has data with it.
                    if packet.count > 12 + Int(packet[14]) << 8 + Int(packet[15]) + 4 { bundledCount += 1 }
                } else if isAwaited, packet[12] == 0 {
                    followerCount += 1
                }
            }
            #expect(pair.connect())
            try pair.send([9], on: channel)
            #expect(pair.run(for: .seconds(5)) { $0.serverEvents.contains { $0.messageBytes == [9] } })
            #expect(followerCount == 0)
            #expect(bundledCount > 0)
        }

        @Test func anOwnerIsWokenWhenAnothersCallActsForIt() throws {
            let woken = Mutex(0)
            // Short: on a long path usrsctp's timers do not matter (LossRecovery).
            let pair = SCTPPair(link: SCTPPair.Link(delay: .milliseconds(1)))
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "x")))
            pair.run(for: .seconds(2))
            pair.client.setWakeUp { woken.withLock { $0 += 1 } }
            pair.link.loss = 1
            try pair.send([9], on: client)
            pair.drain()
            #expect(woken.withLock { $0 } == 0)
            // The client's loop sleeps; the server's advances the time and so fires the client's timer.
            let packets = pair.clientPacketCount
            let late = pair.now + .seconds(5)
            pair.advance(to: late)
            pair.server.handleTimeout(at: late)
            #expect(woken.withLock { $0 } == 1)
            pair.drain()
            #expect(pair.clientPacketCount > packets)
        }
    }
}
