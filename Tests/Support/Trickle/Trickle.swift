package import PeerConnection

/// Brings the candidates of one connection to another, in order, once the other knows the description they belong to.
///
/// - Parameters:
///   - from: whose candidates.
///   - other: where to.
///   - isBrought: which of them; nil stands for the end of candidates.
/// - Returns: the task that does so, until `from` is closed or it is cancelled.
package func trickle(
    _ from: RTCPeerConnection,
    to other: RTCPeerConnection,
    where isBrought: @escaping @Sendable (RTCIceCandidate?) -> Bool = { _ in true }
) -> Task<Void, Never> {
    let candidates = from.events
    let changes = other.events
    return Task {
        for await case .iceCandidate(let candidate) in candidates where isBrought(candidate) {
            if other.remoteDescription == nil {
                // Waited for by its event: tasks that ask again and again would keep all others from running.
                for await _ in changes where other.remoteDescription != nil { break }
            }
            try? await other.addIceCandidate(candidate)
        }
    }
}
