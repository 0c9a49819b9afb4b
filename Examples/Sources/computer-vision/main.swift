// Computer vision between camera and call: each picture is looked at, drawn on, and sent. What comes back from the
// other end is read as pixels again. Without a camera, a test pattern takes its place.
import PeerConnection

/// A part of a picture, in pixels.
struct Region {
    var x: Int
    var y: Int
    var width: Int
    var height: Int
}

/// PLACEHOLDER: put your own detector here, as a model of ONNX Runtime, ncnn or OpenCV behind a C interface.
///
/// It gets the pixels as most of them want them and tells where something is. This one finds the middle of every picture.
func detect(_ rgba: [UInt8], width: Int, height: Int) -> [Region] {
    [Region(x: width / 4, y: height / 4, width: width / 2, height: height / 2)]
}

/// Draws the edges of a region in red, four pixels wide.
func draw(_ region: Region, on rgba: inout [UInt8], width: Int, height: Int) {
    for y in max(0, region.y)..<min(height, region.y + region.height) {
        for x in max(0, region.x)..<min(width, region.x + region.width) {
            let (fromLeft, fromTop) = (x - region.x, y - region.y)
            let edge = min(fromLeft, fromTop, region.width - 1 - fromLeft, region.height - 1 - fromTop)
            if edge < 4 { rgba.replaceSubrange((y * width + x) * 4..<(y * width + x) * 4 + 3, with: [255, 0, 0]) }
        }
    }
}

/// The picture with what was found in it.
func annotate(_ frame: VideoFrame) throws -> VideoFrame {
    var rgba = try frame.bytes(in: .rgba)
    for region in detect(rgba, width: frame.width, height: frame.height) {
        draw(region, on: &rgba, width: frame.width, height: frame.height)
    }
    return try VideoFrame(
        bytes: rgba,
        format: .rgba,
        width: frame.width,
        height: frame.height,
        timestampNanoseconds: frame.timestampNanoseconds,
        rotation: frame.rotation
    )
}

/// The camera, or a test pattern where there is none.
func openCamera() async throws -> MediaStreamTrack {
    do {
        let stream = try await MediaDevices.shared.getUserMedia(.init(video: .init(width: 640, height: 360)))
        if let track = stream.getVideoTracks().first { return track }
    } catch {
        print("\(error); a test pattern is used")
    }
    return MediaStreamTrack(try TestPattern(width: 640, height: 360, framesPerSecond: 15))
}

let camera = try await openCamera()
let generator = VideoTrackGenerator(label: "annotated")
let work = Task {
    // Newest pictures only: a detector that is slow leaves some out, and delays none.
    for await frame in camera.videoFrames { generator.write(try annotate(frame)) }
}

// Two peers in one program. Between machines, the offer and the answer would go through your signalling.
let (sender, receiver) = (try RTCPeerConnection(), try RTCPeerConnection())
let events = receiver.events
try sender.addTrack(generator.track)
try await sender.setLocalDescription()
await sender.waitUntilGathered()
if let offer = sender.localDescription { try await receiver.setRemoteDescription(offer) }
try await receiver.setLocalDescription()
await receiver.waitUntilGathered()
if let answer = receiver.localDescription { try await sender.setRemoteDescription(answer) }

var count = 0
for await case .track(let event) in events {
    for await frame in event.track.videoFrames {
        count += 1
        guard count == 20 else { continue }
        let rgba = try frame.bytes(in: .rgba)
        let edge = (frame.height / 4 + 1) * frame.width + frame.width / 2
        print(
            "Received \(frame.width)x\(frame.height); the region's edge is (\(rgba[edge * 4]), \(rgba[edge * 4 + 1]), \(rgba[edge * 4 + 2]))"
        )
        break
    }
    break
}
work.cancel()
camera.stop()
sender.close()
receiver.close()
