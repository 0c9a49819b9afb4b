internal import RTP

/// A track on its way out: frames, encoder thread, engine.
///
/// Methods are called on the event loop.
protocol SendPipeline: AnyObject, Sendable {
    var mid: String { get }
    func setTrack(_ track: MediaStreamTrack?)
    /// Encoding begins when the connection can carry it.
    func setActive(_ isActive: Bool)
    func setBitRate(_ bitsPerSecond: Int)
    func requestKeyFrame()
    func fill(_ entry: inout RTCStatsReport.OutboundRTP)
    func stop()
}

/// Received frames on their way to a track: engine, decoder thread, track.
///
/// Methods are called on the event loop.
protocol ReceivePipeline: AnyObject, Sendable {
    var receiver: RTCRtpReceiver { get }
    func receive(_ frame: ReceivedFrame)
    func fill(_ entry: inout RTCStatsReport.InboundRTP)
    func stop()
}
