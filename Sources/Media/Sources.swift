/// Gives pictures until it is stopped: a camera, a file, a test pattern.
public protocol VideoSource: AnyObject, Sendable {
    /// What it calls itself, as a camera's name.
    var label: String { get }
    /// Starts; `deliver` is called with each picture, on a thread of the source's own.
    ///
    /// - Throws: `MediaError` if it cannot start.
    func start(deliver: @escaping @Sendable (VideoFrame) -> Void) throws
    /// Stops. After it returns no more pictures are delivered: one that is being delivered is waited for, unless
    /// ``stop()`` is called from there.
    func stop()
}

/// Gives sound until it is stopped: a microphone, a file, a tone.
public protocol AudioSource: AnyObject, Sendable {
    /// What it calls itself.
    var label: String { get }
    /// Starts; `deliver` is called with each block, usually of 20 ms, on a thread of the source's own.
    ///
    /// - Throws: `MediaError` if it cannot start.
    func start(deliver: @escaping @Sendable (AudioFrame) -> Void) throws
    /// Stops. After it returns no more blocks are delivered: one that is being delivered is waited for, unless
    /// ``stop()`` is called from there.
    func stop()
}

/// Takes pictures: a recorder, a window.
public protocol VideoSink: AnyObject, Sendable {
    /// Takes a picture; returns at once. Called on the thread that made it.
    func take(_ frame: VideoFrame)
}

/// Takes sound: a recorder, a loudspeaker.
public protocol AudioSink: AnyObject, Sendable {
    /// Takes a block; returns at once. Called on the thread that made it.
    func take(_ frame: AudioFrame)
}

/// A source or sink that can end by itself, as a camera that is unplugged.
public protocol FailingDevice: AnyObject, Sendable {
    /// Calls `handler` with the reason each time the device ends by itself, on the device's thread. It has stopped then.
    func addFailureHandler(_ handler: @escaping @Sendable (MediaError) -> Void)
}
