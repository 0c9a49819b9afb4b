import SansIO
import Testing

@testable import SCTP

extension VirtualTime {
    @Suite struct PathMTUDiscovery {
        private func connectedPair(_ path: SCTPPath, _ link: SCTPPair.Link) throws -> (SCTPPair, DataChannelHandle) {
            let pair = SCTPPair(link: link, path: path)
            #expect(pair.connect())
            let (client, _) = try #require(try pair.openPair(DataChannelParameters(label: "file")))
            return (pair, client)
        }

        @Test func onOneMachinePacketsBecomeAsLongAsARecord() throws {
            let (pair, channel) = try connectedPair(.sameHost, SCTPPair.Link())
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(pair.longestPacketByteCount == 16_384)
            #expect(pair.lostAsTooLong.isEmpty && pair.cutUpCount == 0)
        }

        @Test(arguments: [(SCTPPath.ipv4, 1_432), (.ipv6, 1_412)])
        func overEthernetTheyFillIt(path: SCTPPath, longest: Int) throws {
            let (pair, channel) = try connectedPair(path, SCTPPair.Link(longestPacket: longest))
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(pair.longestPacketByteCount == longest)
            #expect(pair.lostAsTooLong.isEmpty && pair.cutUpCount == 0)
        }

        @Test(arguments: [SCTPPath.ipv4, .sameHost])
        func aTunnelIsFoundByWhatItLoses(path: SCTPPath) throws {
            let (pair, channel) = try connectedPair(path, SCTPPair.Link(longestPacket: 1_355))
            #expect(try pair.transfer(10, on: channel, within: .seconds(10)))
            // Two seconds for each length that does not pass.
            pair.run(for: .seconds(10))
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(pair.longestPacketByteCount == 1_352)
            // Only probes were lost: no data ever was in a packet that may not pass.
            #expect(pair.lostAsTooLong[.asUsual] == nil)
            #expect(pair.cutUpCount == 0)
        }

        @Test func withoutAnAnswerPacketsStayShort() throws {
            let (pair, channel) = try connectedPair(.sameHost, SCTPPair.Link())
            var probeCount = 0
            pair.onPacket = { _, packet in
                if packet[12] == SCTPChunks.heartbeat {
                    probeCount += 1
                    packet = []
                }
            }
            #expect(try pair.transfer(10, on: channel, within: .seconds(10)))
            pair.run(for: .seconds(30))
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(pair.longestPacketByteCount == 1_160)
            #expect(probeCount == 2 * SCTPPath.sameHost.candidates(recordSizeLimit: 16_384).count)
            // Not again for ten minutes.
            pair.run(for: .seconds(500))
            #expect(probeCount == 2 * SCTPPath.sameHost.candidates(recordSizeLimit: 16_384).count)
            pair.run(for: .seconds(110))
            #expect(probeCount > 2 * SCTPPath.sameHost.candidates(recordSizeLimit: 16_384).count)
        }

        @Test func aPathThatBecomesNarrowIsLeftAtOnceAndLearntAnew() throws {
            let (pair, channel) = try connectedPair(.ipv4, SCTPPair.Link())
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            pair.link.longestPacket = 1_300
            #expect(try pair.transfer(40, on: channel, within: .seconds(60)))
            // What was cut for the wide path.
            #expect(pair.cutUpCount > 0)
            pair.run(for: .seconds(30))
            let cutUpCount = pair.cutUpCount
            let lostCount = pair.lostAsTooLong[.asUsual]
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(pair.longestPacketByteCount == 1_232)
            #expect(pair.cutUpCount == cutUpCount && pair.lostAsTooLong[.asUsual] == lostCount)
        }

        @Test func anotherPathBeginsWithShortPackets() throws {
            let (pair, channel) = try connectedPair(.ipv4, SCTPPair.Link())
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(try pair.transfer(40, on: channel, within: .seconds(10)))
            #expect(pair.longestPacketByteCount == 1_432)
            // What is under way would be sent again as it is.
            pair.run(for: .seconds(1))
            pair.link.longestPacket = 1_200
            pair.client.setPath(.ipv6, recordSizeLimit: nil)
            #expect(try pair.transfer(20, on: channel, within: .seconds(10)))
            #expect(pair.longestPacketByteCount == 1_160)
            #expect(pair.lostAsTooLong[.asUsual] == nil)
        }
    }
}

@Suite struct PathMTUSearching {
    private let start = Instant(nanoseconds: 1_000_000_000)

    private func begun(_ candidates: [Int] = [1_432, 1_352]) -> PathMTUSearch {
        var search = PathMTUSearch(base: 1_160, candidates: candidates)
        search.didSend(byteCount: PathMTUSearch.startByteCount)
        return search
    }

    /// Data and its SACK between two looks at the clock: nothing is awaited after.
    @Test func aSilenceAfterAllWasAcknowledgedIsNoBlackHole() {
        var search = begun()
        #expect(search.probe(at: start) == 1_432)
        search.didArrive(byteCount: 1_432, generation: 0)
        search.didSend(byteCount: 1_000)
        search.didProgress()
        search.didDrain()
        _ = search.probe(at: start + .seconds(1))
        _ = search.probe(at: start + .seconds(20))
        #expect(search.packetLimit == 1_432)
    }

    @Test func beginsWhenItPays() {
        var search = PathMTUSearch(base: 1_160, candidates: [1_432])
        search.didSend(byteCount: PathMTUSearch.startByteCount - 1)
        #expect(search.probe(at: start) == nil)
        search.didSend(byteCount: 1)
        #expect(search.probe(at: start) == 1_432)
        #expect(search.probe(at: start) == nil)
    }

    @Test func takesOnlyAnswersToWhatItAsks() {
        var search = begun()
        search.didArrive(byteCount: 1_432, generation: search.generation)
        #expect(search.packetLimit == 1_160)
        #expect(search.probe(at: start) == 1_432)
        for (byteCount, generation) in [(1_352, search.generation), (16_384, search.generation), (1_432, 77)] {
            search.didArrive(byteCount: byteCount, generation: generation)
            #expect(search.packetLimit == 1_160)
        }
        search.didArrive(byteCount: 1_432, generation: search.generation)
        #expect(search.packetLimit == 1_432)
    }

    @Test func anAnswerFromAnEarlierPathIsNone() {
        var search = begun()
        #expect(search.probe(at: start) == 1_432)
        let generation = search.generation
        search.pathChanged(candidates: [1_432])
        search.didSend(byteCount: PathMTUSearch.startByteCount)
        #expect(search.probe(at: start) == 1_432)
        search.didArrive(byteCount: 1_432, generation: generation)
        #expect(search.packetLimit == 1_160)
    }

    @Test func triesTwiceThenShorter() {
        var search = begun()
        #expect(search.probe(at: start) == 1_432)
        #expect(search.probe(at: start + .milliseconds(999)) == nil)
        #expect(search.probe(at: start + .seconds(1)) == 1_432)
        #expect(search.probe(at: start + .seconds(2)) == 1_352)
        search.didArrive(byteCount: 1_352, generation: search.generation)
        #expect(search.packetLimit == 1_352)
        search.didProgress()
        // The longer one again after ten minutes; what is found stays meanwhile.
        #expect(search.probe(at: start + .seconds(603)) == 1_432)
        #expect(search.probe(at: start + .seconds(604)) == 1_432)
        #expect(search.probe(at: start + .seconds(605)) == nil)
        #expect(search.packetLimit == 1_352)
    }

    @Test func dataWithoutAnswerMakesItFallBack() {
        var search = begun()
        _ = search.probe(at: start)
        search.didArrive(byteCount: 1_432, generation: search.generation)
        search.didSend(byteCount: 1_432)
        _ = search.probe(at: start + .seconds(1))
        search.didProgress()
        search.didSend(byteCount: 1_432)
        _ = search.probe(at: start + .seconds(2))
        search.didSend(byteCount: 1_432)
        #expect(search.probe(at: start + .milliseconds(4_999)) == nil)
        #expect(search.packetLimit == 1_432)
        #expect(search.probe(at: start + .seconds(5)) == nil)
        #expect(search.packetLimit == 1_160)
        // Dead or narrow, that shows when something arrives.
        search.didSend(byteCount: PathMTUSearch.startByteCount)
        #expect(search.probe(at: start + .seconds(6)) == nil)
        search.didProgress()
        search.didSend(byteCount: PathMTUSearch.startByteCount)
        _ = search.probe(at: start + .seconds(7))
        search.didSend(byteCount: PathMTUSearch.startByteCount)
        #expect(search.probe(at: start + .seconds(7)) == 1_432)
    }

    @Test func aPeerThatDoesNotSayGetsNoLongRecord() {
        #expect(SCTPPath.sameHost.candidates(recordSizeLimit: nil).first == 1_432)
        #expect(SCTPPath.sameHost.candidates(recordSizeLimit: 16_384).first == 16_384)
        #expect(SCTPPath.ipv4.candidates(recordSizeLimit: 1_400).first == 1_352)
        #expect(SCTPPath.ipv6.candidates(recordSizeLimit: 16_384).first == 1_412)
    }

    @Test func nothingIsTriedOnAnUnknownPath() {
        var search = begun(SCTPPath.unknown.candidates(recordSizeLimit: 16_384))
        #expect(search.probe(at: start) == nil)
    }
}
