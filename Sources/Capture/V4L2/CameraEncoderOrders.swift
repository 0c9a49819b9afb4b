internal import CV4L2
internal import Locking
internal import Media

/// What a camera's encoder is told while it streams: left here by any thread, carried out by the camera's own.
final class CameraEncoderOrders: Sendable {
    private struct State {
        var wantsKeyFrame = false
        var bitRate: Int?
    }

    private let state = Mutex(State())

    func requestKeyFrame() { state.withLock { $0.wantsKeyFrame = true } }

    func setBitRate(_ bitsPerSecond: Int) { state.withLock { $0.bitRate = bitsPerSecond } }

    /// Whether a key frame is wanted, since the last call.
    func takeKeyFrameRequest() -> Bool {
        state.withLock { state in
            defer { state.wantsKeyFrame = false }
            return state.wantsKeyFrame
        }
    }

    /// The rate that was told last, since the last call.
    func takeBitRate() -> Int? {
        state.withLock { state in
            defer { state.bitRate = nil }
            return state.bitRate
        }
    }
}

/// What an encoder in a camera lets be set, by V4L2's controls of codecs.
///
/// Cameras of a board (bcm2835, and others with an encoder of their own) have them; uvcvideo has none of them for USB
/// cameras.
struct CameraEncoderControls: Hashable, Sendable {
    /// Whether the next picture can be made a key frame.
    let forcesKeyFrames: Bool
    /// The rates that can be set, in bits per second; nil if none can.
    let bitRates: ClosedRange<Int>?

    /// Asks the driver.
    init(_ device: V4L2Device) {
        func query(_ id: UInt32) -> v4l2_queryctrl? {
            var query = v4l2_queryctrl()
            query.id = id
            guard device.request(cv4l2_VIDIOC_QUERYCTRL, &query) == 0,
                query.flags & UInt32(V4L2_CTRL_FLAG_DISABLED | V4L2_CTRL_FLAG_READ_ONLY) == 0
            else { return nil }
            return query
        }
        forcesKeyFrames = query(cv4l2_V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME) != nil
        bitRates = query(cv4l2_V4L2_CID_MPEG_VIDEO_BITRATE).map { query in
            let least = max(0, Int(query.minimum))
            return least...max(least, Int(query.maximum))
        }
    }

    /// Makes the next picture a key frame.
    ///
    /// - Returns: whether the driver took it.
    func forceKeyFrame(_ device: V4L2Device) -> Bool {
        guard forcesKeyFrames else { return false }
        var request = v4l2_control(id: cv4l2_V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, value: 1)
        return device.request(cv4l2_VIDIOC_S_CTRL, &request) == 0
    }

    /// Sets the rate, or the nearest that there is.
    ///
    /// - Returns: whether the driver took it.
    @discardableResult
    func setBitRate(_ bitsPerSecond: Int, _ device: V4L2Device) -> Bool {
        guard let bitRates else { return false }
        let rate = min(max(bitsPerSecond, bitRates.lowerBound), bitRates.upperBound)
        var request = v4l2_control(id: cv4l2_V4L2_CID_MPEG_VIDEO_BITRATE, value: Int32(clamping: rate))
        return device.request(cv4l2_VIDIOC_S_CTRL, &request) == 0
    }
}
