internal import COpenSSL
import SansIO

/// Where one DTLS connection reads and writes: OpenSSL's view of the datagram being received and of the transmits.
///
/// Each write becomes one datagram in the `TransmitQueue`; a memory BIO would join them. A read takes the one
/// datagram that `withIncoming` lends, straight from the caller's memory. OpenSSL's BIO does not own this object: its
/// transport does, and frees the `SSL` and with it the BIO first.
@safe final class DatagramBIO {
    private let transmits: TransmitQueue
    private let mtu: Int
    /// The datagram that OpenSSL has not taken yet.
    private var incoming: UnsafeRawBufferPointer?
    /// Whether OpenSSL has taken the datagram.
    var isDrained: Bool { unsafe incoming == nil }
    private(set) var sentCount = 0
    private(set) var sentByteCount = 0

    init(transmits: TransmitQueue, mtu: Int) {
        self.transmits = transmits
        self.mtu = mtu
    }

    /// Makes a `BIO *` that calls this object, which must outlive it.
    func makeBIO() throws(DTLSError) -> OpaquePointer {
        guard let method = unsafe Self.method, let bio = unsafe BIO_new(method) else {
            throw OpenSSLErrors.drained("BIO_new")
        }
        // Unretained: the transport frees the BIO before it lets go of this object.
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        unsafe BIO_set_init(bio, 1)
        return unsafe bio
    }

    /// Lets OpenSSL read `datagram` while `body` runs.
    func withIncoming(_ datagram: RawSpan, _ body: () -> Void) {
        unsafe datagram.withUnsafeBytes { bytes in
            unsafe incoming = bytes
            body()
            // What `body` left unread must not be seen after the memory is gone.
            unsafe incoming = nil
        }
    }

    // MARK: - What OpenSSL calls

    fileprivate func read(into buffer: UnsafeMutableRawPointer, capacity: Int) -> Int? {
        guard let datagram = unsafe incoming, let source = datagram.baseAddress else { return nil }
        unsafe incoming = nil
        // As a socket does, cut what does not fit; OpenSSL asks for more than the largest record.
        let byteCount = min(capacity, datagram.count)
        unsafe buffer.copyMemory(from: source, byteCount: byteCount)
        return byteCount
    }

    fileprivate func write(_ datagram: UnsafeRawBufferPointer) {
        sentCount += 1
        sentByteCount += datagram.count
        // Without a path the queue drops the datagram and counts it; DTLS will repeat what matters.
        unsafe transmits.append(capacity: datagram.count) { target in
            unsafe target.copyMemory(from: datagram)
            return datagram.count
        }
    }

    fileprivate func control(_ command: Int32) -> Int {
        switch command {
        case BIO_CTRL_FLUSH, BIO_CTRL_DUP: 1
        case BIO_CTRL_DGRAM_QUERY_MTU, BIO_CTRL_DGRAM_GET_FALLBACK_MTU, BIO_CTRL_DGRAM_GET_MTU: mtu
        default: 0  // PENDING and WPENDING among them: nothing is ever buffered here.
        }
    }

    // BIO_METHOD *. Written once before anyone reads it, never changed, never freed: safe from every thread.
    nonisolated(unsafe) private static let method: OpaquePointer? = {
        guard let method = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagrams") else {
            return nil
        }
        unsafe BIO_meth_set_write(method) { bio, bytes, count in
            guard let object = unsafe DatagramBIO.from(bio), let bytes = unsafe bytes, count > 0 else { return -1 }
            unsafe object.write(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
            return count
        }
        unsafe BIO_meth_set_read(method) { bio, buffer, capacity in
            guard let object = unsafe DatagramBIO.from(bio), let buffer = unsafe buffer, capacity > 0 else { return -1 }
            unsafe copenssl_BIO_clear_retry_flags(bio)
            guard let count = unsafe object.read(into: buffer, capacity: Int(capacity)) else {
                unsafe copenssl_BIO_set_retry_read(bio)
                return -1
            }
            return Int32(count)
        }
        unsafe BIO_meth_set_ctrl(method) { bio, command, _, _ in
            unsafe DatagramBIO.from(bio)?.control(command) ?? 0
        }
        return unsafe method
    }()

    private static func from(_ bio: OpaquePointer?) -> DatagramBIO? {
        guard let data = unsafe BIO_get_data(bio) else { return nil }
        return unsafe Unmanaged<DatagramBIO>.fromOpaque(data).takeUnretainedValue()
    }
}
