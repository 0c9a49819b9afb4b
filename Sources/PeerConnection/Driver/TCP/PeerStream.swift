internal import ICE
internal import NIOCore
internal import SansIO

/// A TCP connection with the peer, on which packets are framed.
///
/// Confined to the event loop.
///
/// RFC 6544 §3
final class PeerStream {
    /// The candidate from which it was opened, or which accepted it.
    let candidate: PortID
    let local: TransportAddress
    let remote: TransportAddress
    private let channel: any Channel
    private var incoming = FramedStream()
    /// Packets that were not sent since the peer took too little.
    private(set) var droppedCount = 0

    init(_ channel: any Channel, candidate: PortID, local: TransportAddress, remote: TransportAddress) {
        self.channel = channel
        self.candidate = candidate
        self.local = local
        self.remote = remote
    }

    /// Takes bytes as they come; `body` gets each whole packet.
    func receive(_ bytes: ByteBuffer, _ body: (RawSpan) -> Void) { incoming.receive(bytes.readableBytesSpan, body) }

    /// Sends packets of `segmentByteCount` bytes each but the last, in one piece.
    ///
    /// When too much waits they are lost, as they would be on any full path: what they belong to slows down.
    func send(_ bytes: UnsafeRawBufferPointer, segmentByteCount: Int) {
        let segment = max(1, min(segmentByteCount, FramedStream.longestPacket))
        let count = (bytes.count + segment - 1) / segment
        guard channel.isWritable else {
            droppedCount += count
            return
        }
        var buffer = channel.allocator.buffer(capacity: bytes.count + count * FramedStream.headerByteCount)
        var offset = 0
        while offset < bytes.count {
            let end = min(offset + segment, bytes.count)
            buffer.writeInteger(UInt16(end - offset))
            unsafe buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
            offset = end
        }
        channel.writeAndFlush(buffer, promise: nil)
    }

    func close() { channel.close(mode: .all, promise: nil) }
}
