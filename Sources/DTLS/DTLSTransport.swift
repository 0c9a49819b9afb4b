internal import COpenSSL
package import SansIO

/// Which end speaks first.
package enum DTLSRole: Hashable, Sendable {
    case client
    case server
}

/// The state that applications see.
///
/// webrtc-pc §5.5.1
package enum DTLSState: Hashable, Sendable {
    case new
    case connecting
    case connected
    case closed
    case failed
}

/// What a completed handshake brought.
package struct DTLSConnected: Hashable, Sendable {
    package var role: DTLSRole
    /// Nil if the peers have no SRTP profile in common: data channels work all the same.
    package var keyingMaterial: SRTPKeyingMaterial?
    /// OpenSSL's name of the cipher suite, as `ECDHE-ECDSA-AES128-GCM-SHA256`.
    package var cipherName: String
    /// The version on the wire, 0xFEFD for DTLS 1.2.
    package var version: UInt16

    package var srtpProfile: SRTPProfileID? { keyingMaterial?.profile }
}

/// What happened to a connection.
package enum DTLSEvent: Hashable, Sendable {
    /// The handshake is complete and the peer's fingerprint is verified.
    case connected(DTLSConnected)
    /// The connection cannot be or go on; an alert was sent if OpenSSL had one to send.
    case failed(DTLSError)
    /// The peer closed (close_notify), and was answered.
    case closed
}

/// What a connection counted.
package struct DTLSStatistics: Hashable, Sendable {
    package var datagramsReceived = 0
    package var datagramsSent = 0
    package var bytesReceived = 0
    package var bytesSent = 0
    /// Flights that were repeated since no answer came in time.
    package var flightsRetransmitted = 0
    package var messagesReceived = 0
    package var messagesSent = 0
    /// Datagrams not given to OpenSSL: too many before their time, of the wrong role, with a record too short to be
    /// encrypted, or after the end.
    package var datagramsDropped = 0
    /// Application datagrams in which OpenSSL found nothing new: replayed, forged or damaged.
    package var datagramsDiscarded = 0
    /// The number of the last alert in each direction (RFC 5246 §7.2).
    package var sentAlert: UInt8?
    package var receivedAlert: UInt8?
    package var cipherName: String?
    /// The longest message that the peer says it reads, in bytes (RFC 8449); nil if it did not say.
    package var remoteRecordSizeLimit: Int?
    package var version: UInt16?
    package var srtpProfile: SRTPProfileID?
    /// The peer's certificate, DER.
    package var remoteCertificate: [UInt8]?
    package var remoteFingerprint: DTLSFingerprint?

    /// The version as people write it: `DTLSv1.2`.
    package var versionName: String? { version.map { $0 == 0xFEFD ? "DTLSv1.2" : "0x" + String($0, radix: 16) } }
}

/// One DTLS connection over the datagrams of an ICE transport.
///
/// Owns OpenSSL's `SSL`, whose callbacks hold this object unretained; hence a class. Nothing is delivered and no keys
/// are handed out before the peer's certificate was found to have an announced fingerprint, which may become known
/// after the handshake. Confined to the engine's event loop.
///
/// RFC 6347, RFC 5764, RFC 8122
@safe package final class DTLSTransport {
    /// Where the connection is; OpenSSL has work from `.handshaking` to `.connected`.
    enum Phase: Equatable {
        case new
        case handshaking(DTLSRole)
        /// The handshake is complete, and signalling has not announced a fingerprint yet.
        case unverified(DTLSRole)
        case connected(DTLSRole)
        case closed
        case failed
    }

    var phase = Phase.new
    var events: [DTLSEvent] = []
    /// Datagrams that came before their time, in order; bounded.
    var held: [[UInt8]] = []
    var heldByteCount = 0
    /// Whether all that came before the connection was up has been read.
    var hasReadAll = false
    var remoteFingerprints: [DTLSFingerprint] = []
    /// The error behind a certificate that this end refused.
    var refusal: DTLSError?
    var counters = DTLSStatistics()
    var deadline: Instant?
    var initialTimeoutMicroseconds: UInt32 = 1_000_000
    /// What the cipher adds to a record's content, in bytes; as long as it is unknown, the most that ours add.
    var shortestProtectedRecord = DTLSTransport.nonceByteCount + DTLSTransport.tagByteCount

    // SSL *
    let ssl: OpaquePointer
    let bio: DatagramBIO
    private let certificate: DTLSCertificate
    /// Whether OpenSSL may have its buffers.
    private var hasBuffers = false
    /// Records in and out since it was last asked whether the buffers are needed.
    private var recentRecordCount = 0
    /// More records than this from one rest to the next: the buffers stay for the next ones.
    private static let quietRecordCount = 16

    /// Makes a connection in state `new`.
    ///
    /// - Parameters:
    ///   - certificate: this end's certificate.
    ///   - transmits: where datagrams go, along the selected path.
    ///   - srtpProfiles: the profiles to negotiate, best first; empty for none.
    ///   - mtu: most bytes of a handshake datagram. Application data is never split.
    /// - Throws: `.library` when OpenSSL refuses.
    package init(
        certificate: DTLSCertificate,
        transmits: TransmitQueue,
        srtpProfiles: [SRTPProfileID] = SRTPProfileID.preferred,
        mtu: Int = 1200
    ) throws(DTLSError) {
        OpenSSLErrors.clear()
        let bio = DatagramBIO(transmits: transmits, mtu: mtu)
        guard let ssl = unsafe SSL_new(certificate.context.pointer) else { throw OpenSSLErrors.drained("SSL_new") }
        do throws(DTLSError) {
            let handle = unsafe try bio.makeBIO()
            // The SSL takes the one reference for both directions.
            unsafe SSL_set_bio(ssl, handle, handle)
            guard unsafe copenssl_SSL_set_mtu(ssl, mtu) > 0 else { throw OpenSSLErrors.drained("SSL_set_mtu") }
            if !srtpProfiles.isEmpty {
                let names = srtpProfiles.map(\.opensslName).joined(separator: ":")
                // Unlike its neighbours this function returns 0 for success.
                guard unsafe SSL_set_tlsext_use_srtp(ssl, names) == 0 else {
                    throw OpenSSLErrors.drained("SSL_set_tlsext_use_srtp")
                }
            }
        } catch {
            unsafe SSL_free(ssl)
            throw error
        }
        unsafe self.ssl = ssl
        self.bio = bio
        self.certificate = certificate
        // Unretained: `deinit` frees the SSL, and with it the last caller of the callbacks.
        unsafe SSL_set_ex_data(ssl, Self.exDataIndex, Unmanaged.passUnretained(self).toOpaque())
        unsafe DTLS_set_timer_cb(ssl) { ssl, previous in
            unsafe DTLSTransport.from(ssl: ssl)?.nextTimeout(after: previous) ?? 1_000_000
        }
    }

    deinit {
        unsafe SSL_free(ssl)
    }

    // MARK: - Commands

    /// Announces what signalling says of the peer's certificate; one of the fingerprints by the best hash function
    /// among them must match.
    ///
    /// May come at any time before the connection ends. Once connected it changes nothing.
    ///
    /// RFC 8122 §5
    package func setRemoteFingerprints(_ fingerprints: [DTLSFingerprint]) {
        remoteFingerprints = Array(fingerprints.prefix(Self.maximumFingerprintCount))
        if case .unverified(let role) = phase { verify(role: role) }
    }

    /// Begins the handshake if the state is `new`.
    ///
    /// - Parameters:
    ///   - role: the client sends its hello at once; the server takes what the peer sent already.
    ///   - initialTimeout: before the first flight is repeated, from ICE's round-trip time; at least 50 ms are taken.
    ///   - now: the time.
    package func start(role: DTLSRole, initialTimeout: Duration, at now: Instant) {
        guard phase == .new else { return }
        phase = .handshaking(role)
        let timeout = min(max(initialTimeout, Self.minimumTimeout), Self.maximumTimeout)
        initialTimeoutMicroseconds = UInt32(truncatingIfNeeded: timeout.wholeNanoseconds / 1000)
        switch role {
        case .client:
            unsafe SSL_set_connect_state(ssl)
            counters.datagramsDropped += held.count  // A hello from a peer that also believes to be client.
            forgetHeld()
            continueHandshake(role: role)
        case .server:
            unsafe SSL_set_accept_state(ssl)
            let early = held
            forgetHeld()
            for datagram in early { unsafe process(datagram.span.bytes) { _ in } }
        }
        updateDeadline(at: now)
    }

    /// Sends one message as one record, which is one datagram.
    ///
    /// - Parameter applicationData: 1 ... 16384 bytes; the datagram is `recordOverhead` longer.
    /// - Throws: `.notConnected`, `.messageTooLarge`, `.library`.
    package func send(_ applicationData: UnsafeRawBufferPointer) throws(DTLSError) {
        guard case .connected = phase else { throw .notConnected }
        guard applicationData.count <= Self.maximumMessageByteCount else { throw .messageTooLarge }
        guard unsafe !applicationData.isEmpty else { return }
        OpenSSLErrors.clear()
        needBuffers()
        let written = unsafe SSL_write(ssl, applicationData.baseAddress, Int32(applicationData.count))
        guard Int(written) == applicationData.count else { throw OpenSSLErrors.drained("SSL_write") }
        counters.messagesSent += 1
    }

    /// Sends one message as one record, which is one datagram.
    ///
    /// - Parameter applicationData: 1 ... 16384 bytes.
    /// - Throws: `.notConnected`, `.messageTooLarge`, `.library`.
    package func send(_ applicationData: RawSpan) throws(DTLSError) {
        try unsafe applicationData.withUnsafeBytes { bytes throws(DTLSError) in try unsafe send(bytes) }
    }

    /// Gives OpenSSL's buffers for records back, 33 KiB of a connection, unless much travels.
    ///
    /// After each batch of datagrams or messages: idle connections then hold none, and many that begin at once share.
    package func rest() {
        defer { recentRecordCount = 0 }
        guard hasBuffers, recentRecordCount <= Self.quietRecordCount else { return }
        // Refused while a record is in them.
        hasBuffers = unsafe SSL_free_buffers(ssl) == 0
    }

    /// OpenSSL makes them by itself to read and for a handshake, not to write.
    func needBuffers() {
        recentRecordCount += 1
        guard !hasBuffers else { return }
        hasBuffers = unsafe SSL_alloc_buffers(ssl) == 1
    }

    /// Ends the connection, with a close_notify if there is one.
    package func close() {
        switch phase {
        case .unverified, .connected: sendCloseNotify()
        case .new, .handshaking: break
        case .closed, .failed: return
        }
        phase = .closed
        deadline = nil
        forgetHeld()
    }

    // MARK: - Inputs

    /// Takes a datagram whose first byte is in 20...63 (RFC 7983).
    ///
    /// Before `start` it is kept, in bounds, since the peer's hello may overtake signalling; so is application data
    /// that precedes the peer's fingerprint.
    ///
    /// - Parameters:
    ///   - datagram: borrowed for the call.
    ///   - now: the time.
    ///   - applicationData: gets each decrypted message; may call `send` and `close`. The span is valid for its call.
    package func receive(_ datagram: RawSpan, at now: Instant, applicationData: (RawSpan) -> Void) {
        counters.datagramsReceived += 1
        counters.bytesReceived += datagram.byteCount
        guard !datagram.isEmpty else { return }
        switch phase {
        case .new:
            hold(datagram)
        case .unverified where datagram.uint8(at: 0) == Self.applicationDataType:
            hold(datagram)
        case .handshaking(.client) where Self.beginsWithClientHello(datagram):
            counters.datagramsDropped += 1  // OpenSSL would take it for an error and give up.
        case .connected:
            deliverHeld(applicationData)
            process(datagram, applicationData)
        case .handshaking, .unverified:
            process(datagram, applicationData)
            updateDeadline(at: now)
        case .closed, .failed:
            counters.datagramsDropped += 1
        }
    }

    /// Delivers application data that came before the peer's fingerprint did.
    ///
    /// `receive` does the same; call this after `.connected` to have it at once.
    package func deliverHeld(_ applicationData: (RawSpan) -> Void) {
        guard case .connected = phase, !held.isEmpty else { return }
        let datagrams = held
        forgetHeld()
        for datagram in datagrams { unsafe process(datagram.span.bytes, applicationData) }
    }

    /// Repeats the last flight if it is due.
    package func handleTimeout(at now: Instant) {
        guard let due = deadline, due <= now, isActive else { return }
        OpenSSLErrors.clear()
        needBuffers()
        switch unsafe copenssl_DTLSv1_handle_timeout(ssl) {
        case 1...: counters.flightsRetransmitted += 1
        case 0: break  // The system's clock lags behind ours.
        default: fail(errorFromQueue("DTLSv1_handle_timeout"))
        }
        updateDeadline(at: now)
    }

    // MARK: - Outputs

    package var nextDeadline: Deadline? {
        deadline.map { Deadline($0, "DTLS retransmission") }
    }

    package func nextEvent() -> DTLSEvent? {
        events.isEmpty ? nil : events.removeFirst()
    }

    package var state: DTLSState {
        switch phase {
        case .new: .new
        case .handshaking, .unverified: .connecting
        case .connected: .connected
        case .closed: .closed
        case .failed: .failed
        }
    }

    package var statistics: DTLSStatistics {
        var result = counters
        result.datagramsSent = bio.sentCount
        result.bytesSent = bio.sentByteCount
        return result
    }

    // MARK: - Constants

    /// Makes libcrypto ready, which costs its first user some milliseconds.
    package static func warmUp() {
        // The certificate is of no use to anyone; making it touches what a handshake touches.
        guard let certificate = try? DTLSCertificate.generate(at: 0) else { return }
        _ = try? DTLSTransport(certificate: certificate, transmits: TransmitQueue(initialCapacity: 64))
    }

    /// Bytes around a message: header, nonce and tag with AES-GCM, the longest of our suites.
    package static let recordOverhead = recordHeaderByteCount + nonceByteCount + tagByteCount
    /// RFC 6347 §4.1.
    static let recordHeaderByteCount = 13
    /// What each record of AES-GCM says of its nonce (RFC 5288 §3); ChaCha20-Poly1305 has it from the header (RFC 7905).
    static let nonceByteCount = 8
    /// Of AES-GCM and of ChaCha20-Poly1305 alike.
    static let tagByteCount = 16
    /// The most that a record holds (RFC 5246 §6.2.1).
    package static let maximumMessageByteCount = 16_384
    /// What a peer must read at least: all that is sent without asking is shorter.
    static let smallestRecordSizeLimit = 1_200
    /// Datagrams and bytes that are kept while it is too early for them.
    package static let maximumHeldDatagramCount = 16
    package static let maximumHeldByteCount = 32_768
    /// Fingerprints that a peer's description may announce.
    package static let maximumFingerprintCount = 16
    /// "Implementations SHOULD use an initial timer value of 1 second" (RFC 6347 §4.2.4.1), for lack of a better
    /// estimate; ICE has measured the path.
    package static let minimumTimeout = Duration.milliseconds(50)
    /// Deviates from RFC 6347 §4.2.4.1, which doubles up to 60 s: ICE gives the path up after 30 s.
    package static let maximumTimeout = Duration.milliseconds(6400)

    static let applicationDataType: UInt8 = 23
    /// What `SSL_get_app_data` uses.
    static let exDataIndex: Int32 = 0
}
