/// What went wrong with a codec, device or file, where, and what to do.
public struct MediaError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of failure.
    public enum Kind: String, Hashable, Sendable {
        /// The device, file or codec is not there.
        case notFound
        /// It is there and cannot be used.
        case notUsable
        /// Another program holds it.
        case busy
        /// This user may not use it.
        case notPermitted
        /// It was there and was taken away, as a camera that is unplugged.
        case unplugged
        /// The disk is full, or the quota used up.
        case noSpace
        /// It has come to its end, as a file that is played once.
        case finished
        /// The content is not of the expected form.
        case malformed
        /// An argument is out of range.
        case invalidArgument
        /// The codec failed inside.
        case codec
    }

    /// The kind of failure.
    public var kind: Kind
    /// What it concerns, as `/dev/video0` or `VP8 decoder`.
    public var subject: String
    /// What happened and what to do.
    public var message: String

    /// An error with its parts.
    public init(_ kind: Kind, _ subject: String, _ message: String) {
        self.kind = kind
        self.subject = subject
        self.message = message
    }

    /// Subject and message, as `/dev/video0: …`.
    public var description: String { "\(subject): \(message)" }
}
