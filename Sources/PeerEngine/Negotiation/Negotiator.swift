// Negotiation: offers and answers (JSEP, RFC 9429; BUNDLE, RFC 9143).
//
// Holds the transceivers and descriptions, writes offers and answers, and turns what both sides said into parameters
// for the transports. Always one transport: every m-section is bundled. It sends nothing and knows no time.

package import RTP
package import SDP
package import SansIO

/// The signalling state machine of one connection.
///
/// Confined to the engine's event loop.
package final class Negotiator {
    package internal(set) var signalingState = SignalingState.stable
    package internal(set) var transceivers: [TransceiverState] = []
    package internal(set) var currentLocal: Description?
    package internal(set) var pendingLocal: Description?
    package internal(set) var currentRemote: Description?
    package internal(set) var pendingRemote: Description?
    /// Whether a data m-section is wanted.
    package private(set) var wantsData = false
    /// Whether the next offer must restart ICE.
    package var wantsRestart = false

    let configuration: NegotiatorConfiguration
    var random: RandomSource
    let sessionID: String
    var sessionVersion: UInt64 = 1
    var nextID = 0
    var nextMid = 0
    /// The m-sections in order, as the last description that was set has them.
    var sections: [Section] = []
    /// What `createOffer` or `createAnswer` made last.
    var lastCreated: Created?
    var rollbackPoint: RollbackPoint?
    var remoteUsernameFragment: String?
    var dtlsRoleIsClient: Bool?

    /// A description that was set.
    package struct Description: Sendable {
        package var type: DescriptionType
        package var session: SessionDescription
    }

    /// One m-section and whose it is.
    struct Section {
        enum Content: Equatable { case media(TransceiverID), data, refused(kind: String) }
        var mid: String
        var content: Content
        /// What both sides agreed on last, for the next offer.
        var codecs: [SDPCodec] = []
        var extensionMaps: [SDPExtensionMap] = []
        /// What a refused m-section's line repeats.
        var transport = "UDP/TLS/RTP/SAVPF"
        var formats = ["0"]
    }

    struct Created {
        var type: DescriptionType
        var session: SessionDescription
        var sections: [Section]
        /// Mids given to transceivers that had none.
        var mids: [TransceiverID: String]
        var nextMid: Int
    }

    struct RollbackPoint {
        var transceivers: [TransceiverID: TransceiverState]
        var sections: [Section]
        var remoteUsernameFragment: String?
    }

    package init(configuration: NegotiatorConfiguration, random: RandomSource) {
        self.configuration = configuration
        self.random = random
        sessionID = String(random.next() >> 1)
    }

    // MARK: Commands

    package func addTransceiver(
        kind: RTPMediaKind,
        direction: SDPDirection,
        trackID: String,
        streamIDs: [String],
        wasAddedByTrack: Bool
    ) -> TransceiverID {
        let transceiver = makeTransceiver(
            kind: kind,
            direction: direction,
            trackID: trackID,
            streamIDs: streamIDs,
            wasAddedByTrack: wasAddedByTrack
        )
        transceivers.append(transceiver)
        return transceiver.id
    }

    package func setDirection(_ direction: SDPDirection, of id: TransceiverID) {
        update(id) { $0.direction = direction }
    }

    package func setTrack(_ trackID: String, streamIDs: [String], of id: TransceiverID) {
        update(id) {
            $0.trackID = trackID
            $0.streamIDs = streamIDs
        }
    }

    /// Says whether descriptions from now on list H.264 for a transceiver.
    package func setH264(_ place: H264Place, of id: TransceiverID) { update(id) { $0.h264 = place } }

    package func stop(_ id: TransceiverID) { update(id) { $0.isStopped = true } }

    package func needsDataSection() { wantsData = true }

    package func transceiver(_ id: TransceiverID) -> TransceiverState? { transceivers.first { $0.id == id } }

    /// Whether what was added or changed needs an offer. webrtc-pc §4.7.3
    package var isNegotiationNeeded: Bool {
        if wantsRestart { return true }
        if wantsData, !sections.contains(where: { $0.content == .data }) { return true }
        return transceivers.contains { transceiver in
            if transceiver.isStopped { return transceiver.mid != nil && transceiver.currentDirection != nil }
            if transceiver.mid == nil || transceiver.describedDirection != transceiver.direction { return true }
            return transceiver.direction.sends && transceiver.describedStreamIDs != transceiver.streamIDs
        }
    }

    // MARK: Candidates

    /// Puts a local candidate into the descriptions of its generation.
    ///
    /// - Returns: the mid of the m-section that stands for the transport, and its index.
    @discardableResult
    package func addLocalCandidate(_ attributeValue: String) -> (mid: String, index: Int)? {
        let place = transportPlace
        if let index = place?.index { changeLocal { $0.media[index].candidates.append(attributeValue) } }
        return place
    }

    package func setEndOfLocalCandidates() {
        guard let index = transportPlace?.index else { return }
        changeLocal { $0.media[index].hasEndOfCandidates = true }
    }

    /// The bundled transport's m-section: the first that is not refused.
    package var transportPlace: (mid: String, index: Int)? {
        guard let session = (pendingLocal ?? currentLocal)?.session else { return nil }
        guard let index = session.media.firstIndex(where: { !$0.isRejected }) else { return nil }
        return (session.media[index].mid ?? "", index)
    }

    /// Whether a candidate of the peer names an m-section that is there.
    package func acceptsCandidate(mid: String?, index: Int?) -> Bool {
        guard let session = (pendingRemote ?? currentRemote)?.session else { return false }
        if let mid, !mid.isEmpty { return session.media.contains { $0.mid == mid } }
        if let index { return session.media.indices.contains(index) }
        return false
    }

    package var hasRemoteDescription: Bool { pendingRemote != nil || currentRemote != nil }

    private func changeLocal(_ change: (inout SessionDescription) -> Void) {
        if var pending = pendingLocal {
            change(&pending.session)
            pendingLocal = pending
        } else if var current = currentLocal {
            change(&current.session)
            currentLocal = current
        }
    }

    // MARK: Helpers

    func update(_ id: TransceiverID, _ change: (inout TransceiverState) -> Void) {
        guard let index = transceivers.firstIndex(where: { $0.id == id }) else { return }
        change(&transceivers[index])
    }

    func makeTransceiver(
        kind: RTPMediaKind,
        direction: SDPDirection,
        trackID: String,
        streamIDs: [String],
        wasAddedByTrack: Bool
    ) -> TransceiverState {
        defer { nextID += 1 }
        return TransceiverState(
            id: TransceiverID(rawValue: nextID),
            kind: kind,
            direction: direction,
            trackID: trackID,
            streamIDs: streamIDs,
            ssrc: makeSSRC(),
            rtxSSRC: makeSSRC(),
            wasAddedByTrack: wasAddedByTrack
        )
    }

    private func makeSSRC() -> UInt32 { UInt32(truncatingIfNeeded: random.next()) | 1 }

    /// A mid that no section has, counted from `next`.
    static func makeMid(_ next: inout Int, besides sections: [Section]) -> String {
        while true {
            let mid = String(next)
            next += 1
            if !sections.contains(where: { $0.mid == mid }) { return mid }
        }
    }

    /// What a transceiver can send or receive, in the order of preference.
    func capabilities(_ transceiver: TransceiverState) -> (codecs: [SDPCodec], extensions: [SDPExtensionMap]) {
        var own = capabilities(transceiver.kind)
        if transceiver.kind == .video {
            own.codecs = CodecMatching.placing(own.codecs, h264: transceiver.h264, from: configuration.h264Codecs)
        }
        return own
    }

    func capabilities(_ kind: RTPMediaKind) -> (codecs: [SDPCodec], extensions: [SDPExtensionMap]) {
        kind == .audio
            ? (configuration.audioCodecs, configuration.audioExtensions)
            : (configuration.videoCodecs, configuration.videoExtensions)
    }
}
