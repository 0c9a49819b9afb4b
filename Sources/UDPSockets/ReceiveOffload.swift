package import NIOCore

/// When a socket is read with the kernel's joining of datagrams (UDP GRO).
///
/// A machine's first socket with GRO has the kernel patch its code, on all cores: the setting-up of a connection does not
/// wait for that. What comes joined, or as long as a record, needs a longer buffer.
package struct ReceiveOffload {
    /// Datagrams read before the kernel is asked.
    private var readsLeft = 32

    package init() {}

    /// Counts a read, and asks for joined datagrams once it is worth it.
    package mutating func countRead(_ channel: any Channel) {
        guard readsLeft > 0 else { return }
        readsLeft -= 1
        // A kernel without it goes on with single datagrams.
        guard readsLeft == 0 else { return }
        _ = channel.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 65_536))
        _ = channel.setOption(.datagramReceiveOffload, value: true)
    }
}
