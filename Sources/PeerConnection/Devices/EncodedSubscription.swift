/// One who takes pictures as a source has encoded them, until it is released.
final class EncodedSubscription: Sendable {
    private let source: TrackSource
    private let key: Int

    init(source: TrackSource, key: Int) {
        self.source = source
        self.key = key
    }

    deinit { source.removeEncodedUser(key) }

    func requestKeyFrame() { source.requestKeyFrame() }

    func setBitRate(_ bitsPerSecond: Int) { source.setBitRate(bitsPerSecond, by: key) }
}
