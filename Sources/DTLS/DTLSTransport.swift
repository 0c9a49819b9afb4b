// DTLS: the encrypted datagram session between two peers, by OpenSSL (RFC 6347, RFC 5764, RFC 8842).
//
// DTLS 1.2 through a BIO of our own that makes one datagram of each write. The peer is known by the fingerprint in
// its session description alone; it is compared before one byte or key is handed out. Which path the datagrams take
// is ICE's affair: they go into the `TransmitQueue` without a path.

internal import COpenSSL
package import SansIO

/// Who sends the ClientHello. RFC 8842 §5
package enum DTLSRole: Hashable, Sendable { case client, server }

/// The state of a transport, as of webrtc-pc §5.5 (`RTCDtlsTransportState`).
package enum DTLSState: String, Hashable, Sendable { case new, connecting, connected, closed, failed }

/// What a finished handshake yields.
package struct DTLSConnected: Sendable {
    /// Keys for SRTP, nil if the peers share no profile.
    package var keyingMaterial: SRTPKeyingMaterial?
    /// OpenSSL's name of the cipher suite.
    package var cipher: String
    /// `DTLSv1.2`.
    package var version: String
}

/// Master keys and salts of both directions. RFC 5764 §4.2
package struct SRTPKeyingMaterial: Sendable {
    package var profile: SRTPProfileID
    package var clientKey: [UInt8]
    package var serverKey: [UInt8]
    package var clientSalt: [UInt8]
    package var serverSalt: [UInt8]
}

package enum DTLSEvent: Sendable {
    case connected(DTLSConnected)
    case failed(DTLSError)
    /// The peer sent close_notify.
    case closed
}

package struct DTLSStatistics: Hashable, Sendable {
    package var datagramsReceived = 0
    /// Datagrams that came before `start` and did not fit the store, or after the end.
    package var datagramsDropped = 0
    package var retransmissions = 0
    package var remoteFingerprint: DTLSFingerprint?
    package var cipher: String?
    package var version: String?
    package var srtpProfile: SRTPProfileID?
}

/// One DTLS session.
///
/// Confined to one event loop.
@safe package final class DTLSTransport {
    package private(set) var state = DTLSState.new
    package private(set) var statistics = DTLSStatistics()
    package let mtu: Int

    private let certificate: DTLSCertificate
    private let transmits: TransmitQueue
    private let profiles: [SRTPProfileID]
    private var session: OpaquePointer?  // SSL *
    private var remoteFingerprints: [DTLSFingerprint] = []
    private var isHandshakeDone = false
    private var initialTimeout = Duration.milliseconds(50)
    private var events: [DTLSEvent] = []
    private var deadline: Instant?
    /// Datagrams before `start`: the peer may be quicker than its description.
    private var early: [[UInt8]] = []
    /// The datagram that is being received; valid only inside `receive`.
    private var input = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: maximumRecordByteCount, alignment: 16)

    /// Most datagrams that are kept before `start`.
    package static let earlyLimit = 8
    /// A DTLS record's most plain bytes (RFC 6347 §4.1).
    package static let maximumRecordByteCount = 16_384
    /// A retransmission timer doubles up to this (RFC 6347 §4.2.4.1 says 60 s, which is no help in a call).
    private static let maximumTimeout: UInt32 = 3_000_000

    /// A session that waits for `start`.
    package init(
        certificate: DTLSCertificate,
        transmits: TransmitQueue,
        srtpProfiles: [SRTPProfileID],
        mtu: Int = 1200
    ) throws(DTLSError) {
        self.certificate = certificate
        self.transmits = transmits
        self.mtu = mtu
        profiles = srtpProfiles
    }

    deinit {
        unsafe SSL_free(session)
        unsafe scratch.deallocate()
    }

    /// Uses libcrypto once, since its first use costs about 1.4 ms.
    package static func warmUp() { _ = OPENSSL_init_ssl(0, nil) }

    // MARK: Commands

    /// The fingerprints that the peer's description announced; one that fits is enough.
    ///
    /// May come after the handshake.
    package func setRemoteFingerprints(_ fingerprints: [DTLSFingerprint]) {
        remoteFingerprints = fingerprints
        if isHandshakeDone && state == .connecting { verify() }
    }

    /// Begins the handshake.
    ///
    /// `initialTimeout`: when the first flight is sent again: about twice the round-trip time, at least 50 ms.
    package func start(role: DTLSRole, initialTimeout: Duration, at now: Instant) {
        guard state == .new else { return }
        self.initialTimeout = max(initialTimeout, .milliseconds(50))
        OpenSSLErrors.clear()
        guard let session = unsafe SSL_new(certificate.context.context), let bio = unsafe DatagramBIO.make(for: self)
        else {
            return fail(OpenSSLErrors.failure("cannot make a session"))
        }
        unsafe self.session = session
        unsafe SSL_set_bio(session, bio, bio)
        unsafe copenssl_SSL_set_mtu(session, mtu)
        if !profiles.isEmpty,
            unsafe SSL_set_tlsext_use_srtp(session, profiles.map(\.opensslName).joined(separator: ":")) != 0
        {
            return fail(OpenSSLErrors.failure("cannot offer SRTP profiles"))
        }
        unsafe DTLS_set_timer_cb(session) { session, microseconds in
            guard let transport = unsafe DatagramBIO.transport(of: SSL_get_rbio(session)) else { return 1_000_000 }
            return transport.nextTimeout(after: microseconds)
        }
        if role == .client { unsafe SSL_set_connect_state(session) } else { unsafe SSL_set_accept_state(session) }
        state = .connecting
        if role == .client { handshake() }
        let waiting = early
        early = []
        for datagram in waiting { unsafe receive(datagram.span.bytes, at: now) { _ in } }
        updateDeadline(at: now)
    }

    /// Sends one message as one record in one datagram.
    package func send(_ message: UnsafeRawBufferPointer) throws(DTLSError) {
        guard state == .connected, let session = unsafe session else { throw .notConnected }
        guard message.count <= Self.maximumRecordByteCount else {
            throw .messageTooLarge(limit: Self.maximumRecordByteCount)
        }
        guard message.count > 0 else { return }
        OpenSSLErrors.clear()
        let written = unsafe SSL_write(session, message.baseAddress, Int32(message.count))
        guard written > 0 else { throw OpenSSLErrors.failure("cannot encrypt") }
    }

    /// Tells the peer that the session ends.
    ///
    /// Nothing is received after.
    package func close() {
        guard state != .closed, state != .failed else { return }
        OpenSSLErrors.clear()
        if let session = unsafe session, isHandshakeDone { _ = unsafe SSL_shutdown(session) }
        state = .closed
        deadline = nil
    }

    // MARK: Inputs

    /// Takes one datagram and hands the application data in it to `applicationData`.
    package func receive(_ datagram: RawSpan, at now: Instant, applicationData: (RawSpan) -> Void) {
        statistics.datagramsReceived += 1
        switch state {
        case .new:
            guard early.count < Self.earlyLimit, datagram.byteCount <= 4096 else {
                statistics.datagramsDropped += 1
                return
            }
            early.append(datagram.array())
        case .closed, .failed: statistics.datagramsDropped += 1
        case .connecting, .connected:
            unsafe datagram.withUnsafeBytes { bytes in
                unsafe input = bytes
                process(applicationData)
                unsafe input = UnsafeRawBufferPointer(start: nil, count: 0)
            }
            if state == .connecting || deadline != nil { updateDeadline(at: now) }
        }
    }

    /// Sends the last flight again if it is due.
    package func handleTimeout(at now: Instant) {
        guard let due = deadline, due <= now, let session = unsafe session, state == .connecting else { return }
        OpenSSLErrors.clear()
        let result = unsafe copenssl_DTLSv1_handle_timeout(session)
        if result > 0 { statistics.retransmissions += 1 }
        if result < 0 { return fail(.handshakeFailed("the peer does not answer: \(OpenSSLErrors.take())")) }
        updateDeadline(at: now)
    }

    // MARK: Outputs

    package func nextEvent() -> DTLSEvent? { events.isEmpty ? nil : events.removeFirst() }

    package var nextDeadline: Deadline? { deadline.map { Deadline($0, "DTLS retransmission") } }

    // MARK: From the BIO

    func write(_ datagram: UnsafeRawBufferPointer) {
        transmits.append(unsafe datagram.bytes)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = unsafe min(buffer.count, input.count)
        guard count > 0 else { return 0 }
        unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[..<count]))
        // What does not fit a record's buffer is lost, as with recv().
        unsafe input = UnsafeRawBufferPointer(start: nil, count: 0)
        return count
    }

    func nextTimeout(after microseconds: UInt32) -> UInt32 {
        if microseconds == 0 { return UInt32(clamping: initialTimeout.wholeNanoseconds / 1_000) }
        return min(microseconds &* 2, Self.maximumTimeout)
    }

    // MARK: Private

    private func process(_ applicationData: (RawSpan) -> Void) {
        if !isHandshakeDone { handshake() }
        guard isHandshakeDone, state == .connected, let session = unsafe session else { return }
        while true {
            OpenSSLErrors.clear()
            let count = unsafe SSL_read(session, scratch.baseAddress, Int32(scratch.count))
            guard count > 0 else { return handleResult(count) }
            unsafe applicationData(UnsafeRawBufferPointer(rebasing: scratch[..<Int(count)]).bytes)
        }
    }

    private func handshake() {
        guard let session = unsafe session else { return }
        OpenSSLErrors.clear()
        let result = unsafe SSL_do_handshake(session)
        guard result == 1 else { return handleResult(result) }
        isHandshakeDone = true
        if !remoteFingerprints.isEmpty { verify() }
    }

    private func handleResult(_ result: Int32) {
        guard let session = unsafe session else { return }
        switch unsafe SSL_get_error(session, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: break
        case SSL_ERROR_ZERO_RETURN:
            state = .closed
            deadline = nil
            events.append(.closed)
        default:
            let text = OpenSSLErrors.take()
            fail(isHandshakeDone ? .alert(text) : .handshakeFailed(text))
        }
    }

    /// RFC 8842 §4: the certificate must have one of the announced fingerprints.
    private func verify() {
        guard let session = unsafe session else { return }
        guard let remote = unsafe SSL_get1_peer_certificate(session) else {
            return refuse(.fingerprintMismatch(received: nil))
        }
        defer { unsafe X509_free(remote) }
        statistics.remoteFingerprint = unsafe DTLSCertificate.fingerprint(of: remote, algorithm: "sha-256")
        let fits = remoteFingerprints.contains { announced in
            unsafe DTLSCertificate.fingerprint(of: remote, algorithm: announced.algorithm) == announced
        }
        guard fits else { return refuse(.fingerprintMismatch(received: statistics.remoteFingerprint)) }
        let keys: SRTPKeyingMaterial?
        do { keys = unsafe try exportKeys(session) } catch { return refuse(error) }
        let cipher =
            unsafe SSL_CIPHER_get_name(SSL_get_current_cipher(session)).map { unsafe String(cString: $0) } ?? ""
        let version = unsafe SSL_get_version(session).map { unsafe String(cString: $0) } ?? ""
        statistics.cipher = cipher
        statistics.version = version
        statistics.srtpProfile = keys?.profile
        state = .connected
        deadline = nil
        events.append(.connected(DTLSConnected(keyingMaterial: keys, cipher: cipher, version: version)))
    }

    private func refuse(_ error: DTLSError) {
        if let session = unsafe session { _ = unsafe SSL_shutdown(session) }
        fail(error)
    }

    private func exportKeys(_ session: OpaquePointer) throws(DTLSError) -> SRTPKeyingMaterial? {
        guard let selected = unsafe SSL_get_selected_srtp_profile(session),
            let profile = unsafe SRTPProfileID(rawValue: UInt16(truncatingIfNeeded: selected.pointee.id))
        else { return nil }
        let key = profile.keyByteCount
        let salt = profile.saltByteCount
        var material = [UInt8](repeating: 0, count: 2 * (key + salt))
        let label = "EXTRACTOR-dtls_srtp"
        guard
            unsafe SSL_export_keying_material(
                session,
                &material,
                material.count,
                label,
                label.utf8.count,
                nil,
                0,
                0
            ) == 1
        else { throw OpenSSLErrors.failure("cannot export SRTP keys") }
        return SRTPKeyingMaterial(
            profile: profile,
            clientKey: Array(material[..<key]),
            serverKey: Array(material[key..<(2 * key)]),
            clientSalt: Array(material[(2 * key)..<(2 * key + salt)]),
            serverSalt: Array(material[(2 * key + salt)...])
        )
    }

    private func fail(_ error: DTLSError) {
        guard state != .failed else { return }
        state = .failed
        deadline = nil
        events.append(.failed(error))
    }

    private func updateDeadline(at now: Instant) {
        guard let session = unsafe session, state == .connecting else {
            deadline = nil
            return
        }
        var left = timeval()
        guard unsafe copenssl_DTLSv1_get_timeout(session, &left) == 1 else {
            deadline = nil
            return
        }
        // OpenSSL reads its own clock: never ask to be called again at once.
        let remaining = max(Int64(left.tv_sec) * 1_000_000_000 + Int64(left.tv_usec) * 1_000, 1_000_000)
        deadline = now + .nanoseconds(remaining)
    }
}
