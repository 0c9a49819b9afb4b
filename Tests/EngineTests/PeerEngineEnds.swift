import DTLS
import PeerEngine
import SCTP
import SansIO
import TestClocks
import Testing

/// Data channels live as long as DTLS does.
@Suite(.serialized, .virtualSCTP) struct PeerEngineEnds {
    @Test func `The peer's close_notify alone closes the channels`() throws {
        let pair = try PeerEnginePair()
        try pair.negotiate()
        pair.exchange()
        pair.signalCandidates()
        #expect(pair.run { pair.isConnected && pair.offerer.openChannels == 1 })
        // SCTP's ABORT, in a record of application data, is lost; the alert arrives.
        pair.passes = { _, datagram in datagram.first != 23 }
        pair.answerer.engine.close(at: pair.now)
        #expect(pair.run(.seconds(5)) { pair.offerer.closedChannels == 1 })
        #expect(throws: DataChannelError.associationClosed) {
            try pair.offerer.engine.openChannel(DataChannelParameters(label: "late"))
        }
    }

    @Test func `A channel that waits for DTLS is closed when DTLS fails`() throws {
        let pair = try PeerEnginePair()
        try pair.negotiate()
        _ = try pair.answerer.engine.openChannel(DataChannelParameters(label: "waiting"))
        pair.exchange()
        pair.signalCandidates()
        // Handshake records are lost for good; the answerer, which is the DTLS client, gives up.
        pair.passes = { _, datagram in !(20...23).contains(datagram.first ?? 0) }
        #expect(pair.run(.seconds(300)) { pair.answerer.closedChannels == 1 })
        #expect(pair.answerer.engine.connectionState == .failed)
        #expect(pair.answerer.openChannels == 0)
    }
}
