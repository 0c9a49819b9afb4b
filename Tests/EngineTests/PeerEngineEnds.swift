import PeerEngine
import SCTP
import SansIO
import Testing

/// Data channels live no longer than DTLS does.
///
/// The channels here wait for SCTP, which never comes.
@Suite struct PeerEngineEnds {
    @Test func `The peer's close_notify alone closes the channels`() throws {
        let pair = try PeerEnginePair()
        try pair.negotiate()
        pair.exchange()
        pair.signalCandidates()
        #expect(pair.run { pair.isConnected })
        _ = try pair.offerer.engine.openChannel(DataChannelParameters(label: "waiting"))
        pair.answerer.engine.close(at: pair.now)
        #expect(pair.run(.seconds(5)) { pair.offerer.closedChannels == 1 })
        #expect(throws: DataChannelError.associationClosed) {
            try pair.offerer.engine.openChannel(DataChannelParameters(label: "late"))
        }
    }
}
