internal import Locking
internal import Media

/// Tracks that belong together, as a camera's picture and its microphone's sound. mediacapture-main §4.2
///
/// Its ``id`` is what the peer is told: `try connection.addTrack(track, streamIDs: [stream.id])`.
public final class MediaStream: Sendable {
    /// The stream's name, unique in the process.
    public let id: String
    private let tracks: Mutex<[MediaStreamTrack]>

    /// A stream of tracks; one that is given twice is in it once.
    public init(_ tracks: [MediaStreamTrack] = []) {
        id = MediaStreamTrack.makeID()
        var unique: [MediaStreamTrack] = []
        for track in tracks where !unique.contains(where: { $0 === track }) { unique.append(track) }
        self.tracks = Mutex(unique)
    }

    /// Whether any track can still give frames.
    public var active: Bool { getTracks().contains { $0.readyState == .live } }

    /// All tracks, in the order in which they came.
    public func getTracks() -> [MediaStreamTrack] { tracks.withLock { $0 } }
    /// The tracks of sound.
    public func getAudioTracks() -> [MediaStreamTrack] { getTracks().filter { $0.kind == .audio } }
    /// The tracks of pictures.
    public func getVideoTracks() -> [MediaStreamTrack] { getTracks().filter { $0.kind == .video } }
    /// The track with an id; nil if it is not in the stream.
    public func getTrackById(_ id: String) -> MediaStreamTrack? { getTracks().first { $0.id == id } }

    /// Adds a track, unless it is in the stream.
    public func addTrack(_ track: MediaStreamTrack) {
        tracks.withLock { tracks in
            if !tracks.contains(where: { $0 === track }) { tracks.append(track) }
        }
    }

    /// Takes a track out, which goes on.
    public func removeTrack(_ track: MediaStreamTrack) { tracks.withLock { $0.removeAll { $0 === track } } }

    /// A stream of clones of the tracks.
    public func clone() -> MediaStream { MediaStream(getTracks().map { $0.clone() }) }
}
