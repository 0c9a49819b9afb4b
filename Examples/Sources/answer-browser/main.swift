// Serves the page, answers every browser that opens it with a moving test pattern and a tone, and counts the pictures
// that the browser sends. What a camera on a mast or a robot would do.
import PeerConnection
import Signaling

let server = SignalingServer()
let endpoint = try await server.start()
let client = try SignalingClient(url: endpoint.url, room: "lobby", name: "Swift")
print("Open \(endpoint.url)lobby in a browser.")

let video = MediaStreamTrack(try TestPattern(width: 640, height: 360, framesPerSecond: 30))
let audio = MediaStreamTrack(Tone())
var guests: [SignalingPeerID: RTCPeerConnection] = [:]

for await event in client.events {
    switch event {
    case .message(.offer(let sdp), let id, _):
        let guest = try guests[id] ?? answer(id)
        guests[id] = guest
        try await guest.setRemoteDescription(RTCSessionDescription(type: .offer, sdp: sdp))
        try await guest.setLocalDescription()
        // With all candidates in the answer there is nothing more to tell.
        await guest.waitUntilGathered()
        if let answer = guest.localDescription { client.send(.answer(sdp: answer.sdp), to: id) }
    case .message(.candidate(let candidate), let id, _):
        try? await guests[id]?.addIceCandidate(
            candidate.map {
                RTCIceCandidate(candidate: $0.candidate, sdpMid: $0.sdpMid, sdpMLineIndex: $0.sdpMLineIndex)
            }
        )
    case .message(.bye, let id, _), .peerLeft(let id, _):
        guests.removeValue(forKey: id)?.close()
        print("\(id) left")
    case .closed(let error): print("The server is gone: \(error.map(\.message) ?? "goodbye")")
    default: break
    }
}

/// A connection that sends our two tracks and counts what comes back.
func answer(_ id: SignalingPeerID) throws -> RTCPeerConnection {
    let guest = try RTCPeerConnection()
    for track in [audio, video] { try guest.addTrack(track, streamIDs: ["swift"]) }
    let events = guest.events
    Task {
        for await case .track(let event) in events where event.track.kind == .video {
            var count = 0
            for await frame in event.track.videoFrames {
                count += 1
                if count % 100 == 0 { print("\(id): \(count) pictures, now \(frame.width)x\(frame.height)") }
            }
        }
    }
    return guest
}
