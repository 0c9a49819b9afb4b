package import SansIO

/// One encoded picture or block of audio, ready to be put into packets.
package struct EncodedFrame: Sendable {
    package var payload: [UInt8]
    /// What it is encoded in, where that may have changed since it was made; nil for whatever the stream carries.
    package var codec: RTPCodec?
    /// In ticks of the codec's clock; the sender adds a random offset of its own.
    package var rtpTimestamp: UInt32
    package var isKeyFrame: Bool
    /// No other frame depends on this one.
    package var isNonReference: Bool
    /// When the picture was taken, for sender reports; nil stands for when it is sent.
    package var captureTime: Instant?
    /// From 0 (loudest) to 127 (silence), audio only (RFC 6464).
    package var audioLevel: UInt8?
    package var hasVoice: Bool
    /// The first audio packet after silence (RFC 3551 §4.1); audio only.
    package var startsTalkspurt: Bool

    package init(
        payload: [UInt8],
        codec: RTPCodec? = nil,
        rtpTimestamp: UInt32,
        isKeyFrame: Bool = false,
        isNonReference: Bool = false,
        captureTime: Instant? = nil,
        audioLevel: UInt8? = nil,
        hasVoice: Bool = false,
        startsTalkspurt: Bool = false
    ) {
        self.payload = payload
        self.codec = codec
        self.rtpTimestamp = rtpTimestamp
        self.isKeyFrame = isKeyFrame
        self.isNonReference = isNonReference
        self.captureTime = captureTime
        self.audioLevel = audioLevel
        self.hasVoice = hasVoice
        self.startsTalkspurt = startsTalkspurt
    }
}
