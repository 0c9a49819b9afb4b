internal import COpenSSL
import SansIO

// How the transport drives OpenSSL, and what OpenSSL's callbacks find.
extension DTLSTransport {
    var isActive: Bool {
        switch phase {
        case .handshaking, .unverified, .connected: true
        case .new, .closed, .failed: false
        }
    }

    /// Gives one datagram to OpenSSL.
    func process(_ datagram: RawSpan, _ applicationData: (RawSpan) -> Void) {
        guard isActive else {
            counters.datagramsDropped += 1
            return
        }
        if case .handshaking = phase { unsafe learnShortestProtectedRecord(of: SSL_get_pending_cipher(ssl)) }
        guard !hasShortProtectedRecord(datagram) else {
            counters.datagramsDropped += 1
            return
        }
        let isApplicationData = datagram.uint8(at: 0) == Self.applicationDataType
        let messagesBefore = counters.messagesReceived
        needBuffers()
        bio.withIncoming(datagram) {
            if case .handshaking(let role) = phase { continueHandshake(role: role) }
            if case .unverified = phase { peek() }
            if case .connected = phase { readMessages(applicationData) }
        }
        if isApplicationData, case .connected = phase, counters.messagesReceived == messagesBefore {
            counters.datagramsDiscarded += 1
        }
    }

    /// Whether a record that claims to be encrypted is shorter than what its cipher adds.
    ///
    /// Anyone can send such a record, and it is to be discarded in silence (RFC 6347 §4.1.2.7); OpenSSL 3.0 takes it
    /// for an error of its own and never reads again. Records whose length is wrong otherwise it discards by itself.
    private func hasShortProtectedRecord(_ datagram: RawSpan) -> Bool {
        var offset = 0
        while datagram.byteCount - offset >= Self.recordHeaderByteCount {
            let length = Int(datagram.uint16(at: offset + 11))
            if datagram.uint16(at: offset + 3) > 0, length < shortestProtectedRecord { return true }
            offset += Self.recordHeaderByteCount + length
        }
        return false
    }

    private func learnShortestProtectedRecord(of cipher: OpaquePointer?) {
        guard let cipher = unsafe cipher else { return }
        let isChaCha = unsafe SSL_CIPHER_get_cipher_nid(cipher) == NID_chacha20_poly1305
        shortestProtectedRecord = isChaCha ? Self.tagByteCount : Self.nonceByteCount + Self.tagByteCount
    }

    func continueHandshake(role: DTLSRole) {
        OpenSSLErrors.clear()
        needBuffers()
        let result = unsafe SSL_do_handshake(ssl)
        if result == 1 {
            finishHandshake(role: role)
            return
        }
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: break
        case SSL_ERROR_ZERO_RETURN: fail(.closedDuringHandshake)
        default: fail(errorFromQueue("SSL_do_handshake"))
        }
        OpenSSLErrors.clear()
    }

    private func finishHandshake(role: DTLSRole) {
        deadline = nil
        guard let der = counters.remoteCertificate else {
            sendCloseNotify()
            fail(.noPeerCertificate)
            return
        }
        counters.remoteFingerprint = DTLSCertificate.fingerprint(ofDER: der, by: .sha256)
        unsafe learnShortestProtectedRecord(of: SSL_get_current_cipher(ssl))
        if let name = unsafe SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)) {
            counters.cipherName = unsafe String(cString: name)
        }
        counters.version = unsafe UInt16(truncatingIfNeeded: SSL_version(ssl))
        phase = .unverified(role)
        if !remoteFingerprints.isEmpty { verify(role: role) }
    }

    /// Connects if the peer's certificate, which is known by now, is the announced one.
    func verify(role: DTLSRole) {
        guard !remoteFingerprints.isEmpty, let der = counters.remoteCertificate else { return }
        if let error = mismatch(der: der) {
            // OpenSSL sends a bad_certificate only during the handshake; afterwards there is but close_notify.
            sendCloseNotify()
            fail(error)
            return
        }
        do throws(DTLSError) {
            let material = try exportKeyingMaterial()
            counters.srtpProfile = material?.profile
            phase = .connected(role)
            events.append(
                .connected(
                    DTLSConnected(
                        role: role,
                        keyingMaterial: material,
                        cipherName: counters.cipherName ?? "",
                        version: counters.version ?? 0
                    )
                )
            )
        } catch {
            sendCloseNotify()
            fail(error)
        }
    }

    /// Reads on while the fingerprint is unknown: handshake messages are handled, application data stays in OpenSSL.
    private func peek() {
        OpenSSLErrors.clear()
        let (count, error) = unsafe DecryptionBuffer.with { buffer in
            let count = unsafe SSL_peek(ssl, buffer.baseAddress, Int32(buffer.count))
            return (count, unsafe SSL_get_error(ssl, count))
        }
        if count <= 0 { handleReadError(error) }
    }

    private func readMessages(_ applicationData: (RawSpan) -> Void) {
        while case .connected = phase {
            OpenSSLErrors.clear()
            let (count, error) = unsafe DecryptionBuffer.with { buffer in
                let count = unsafe SSL_read(ssl, buffer.baseAddress, Int32(buffer.count))
                guard count > 0 else { return (count, unsafe SSL_get_error(ssl, count)) }
                counters.messagesReceived += 1
                unsafe applicationData(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: buffer[..<Int(count)])))
                return (count, SSL_ERROR_NONE)
            }
            if count <= 0 {
                // From now on OpenSSL has nothing that came before the handshake's end.
                hasReadAll = true
                handleReadError(error)
                return
            }
            // A datagram is nearly always one record: not asked again for what is not there.
            if hasReadAll, bio.isDrained, unsafe SSL_has_pending(ssl) == 0 { return }
        }
    }

    private func handleReadError(_ error: Int32) {
        switch error {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE:
            break
        case SSL_ERROR_ZERO_RETURN:
            sendCloseNotify()
            phase = .closed
            deadline = nil
            forgetHeld()
            events.append(.closed)
        default:
            fail(errorFromQueue("SSL_read"))
        }
        OpenSSLErrors.clear()
    }

    func sendCloseNotify() {
        OpenSSLErrors.clear()
        needBuffers()
        unsafe SSL_shutdown(ssl)
        OpenSSLErrors.clear()
    }

    func fail(_ error: DTLSError) {
        phase = .failed
        deadline = nil
        forgetHeld()
        events.append(.failed(error))
    }

    /// What the queue of errors means.
    func errorFromQueue(_ call: StaticString) -> DTLSError {
        if let refusal { return refusal }
        guard let first = OpenSSLErrors.drain() else { return .library("\(call) failed") }
        switch first.reason {
        case SSL_R_READ_TIMEOUT_EXPIRED: return .timedOut
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return .noPeerCertificate
        case SSL_AD_REASON_OFFSET..<(SSL_AD_REASON_OFFSET + 256):
            return .alertReceived(UInt8(truncatingIfNeeded: first.reason - SSL_AD_REASON_OFFSET))
        default: return .library(first.text)
        }
    }

    /// Takes over OpenSSL's timer, which counts from its own reading of the clock.
    func updateDeadline(at now: Instant) {
        var remaining = timeval()
        guard isActive, unsafe copenssl_DTLSv1_get_timeout(ssl, &remaining) == 1 else {
            deadline = nil
            return
        }
        let duration = Duration.seconds(remaining.tv_sec) + .microseconds(remaining.tv_usec)
        deadline = now + max(duration, Self.timerResolution)
    }

    // MARK: - Held datagrams

    func hold(_ datagram: RawSpan) {
        guard held.count < Self.maximumHeldDatagramCount,
            heldByteCount + datagram.byteCount <= Self.maximumHeldByteCount
        else {
            counters.datagramsDropped += 1
            return
        }
        held.append(datagram.array())
        heldByteCount += datagram.byteCount
    }

    func forgetHeld() {
        held = []
        heldByteCount = 0
    }

    /// Whether the first record is a cleartext handshake message of type client_hello (RFC 6347 §4.3.2).
    static func beginsWithClientHello(_ datagram: RawSpan) -> Bool {
        datagram.byteCount > recordHeaderByteCount && datagram.uint8(at: 0) == 22 && datagram.uint16(at: 3) == 0
            && datagram.uint8(at: recordHeaderByteCount) == 1
    }

    // MARK: - The peer's certificate

    /// Why the peer's certificate is not one of the announced ones; nil if it is.
    private func mismatch(der: [UInt8]) -> DTLSError? {
        let known = remoteFingerprints.compactMap { fingerprint in
            CertificateHash(rawValue: fingerprint.algorithm).map { (hash: $0, fingerprint: fingerprint) }
        }
        // Only those by the strongest hash function count, else an attacker could choose the weakest (RFC 8122 §5).
        guard let best = known.map(\.hash).max() else { return .noUsableFingerprint }
        guard let actual = DTLSCertificate.fingerprint(ofDER: der, by: best) else {
            return .fingerprintMismatch(received: nil)
        }
        return known.contains { $0.fingerprint == actual } ? nil : .fingerprintMismatch(received: actual)
    }

    /// Remembers the peer's certificate, and judges it if signalling has announced one.
    ///
    /// - Parameter certificate: `X509 *`, borrowed from OpenSSL.
    /// - Returns: whether the handshake goes on.
    func acceptsCertificate(_ certificate: OpaquePointer?) -> Bool {
        guard let certificate = unsafe certificate, let der = try? unsafe DTLSCertificate.derBytes(of: certificate)
        else { return false }
        counters.remoteCertificate = der
        if remoteFingerprints.isEmpty { return true }
        refusal = mismatch(der: der)
        return refusal == nil
    }

    private func exportKeyingMaterial() throws(DTLSError) -> SRTPKeyingMaterial? {
        guard let selected = unsafe SSL_get_selected_srtp_profile(ssl),
            let profile = unsafe SRTPProfileID(rawValue: UInt16(truncatingIfNeeded: selected.pointee.id))
        else { return nil }
        OpenSSLErrors.clear()
        var bytes = [UInt8](repeating: 0, count: SRTPKeyingMaterial.byteCount(for: profile))
        let label = "EXTRACTOR-dtls_srtp"
        guard unsafe SSL_export_keying_material(ssl, &bytes, bytes.count, label, label.utf8.count, nil, 0, 0) == 1,
            let material = SRTPKeyingMaterial(profile: profile, exported: bytes)
        else { throw OpenSSLErrors.drained("SSL_export_keying_material") }
        return material
    }

    // MARK: - What OpenSSL's callbacks call

    /// How long to wait for an answer to the flight just sent; OpenSSL passes 0 for a new flight.
    func nextTimeout(after previousMicroseconds: UInt32) -> UInt32 {
        guard previousMicroseconds > 0 else { return initialTimeoutMicroseconds }
        let longest = UInt32(truncatingIfNeeded: Self.maximumTimeout.wholeNanoseconds / 1000)
        let (doubled, overflow) = previousMicroseconds.multipliedReportingOverflow(by: 2)
        return overflow ? longest : min(doubled, longest)
    }

    func noteAlert(kind: Int32, value: Int32) {
        let number = UInt8(truncatingIfNeeded: value & 0xFF)
        if kind == SSL_CB_READ_ALERT { counters.receivedAlert = number }
        if kind == SSL_CB_WRITE_ALERT { counters.sentAlert = number }
    }

    static func from(ssl: OpaquePointer?) -> DTLSTransport? {
        guard let object = unsafe SSL_get_ex_data(ssl, exDataIndex) else { return nil }
        return unsafe Unmanaged<DTLSTransport>.fromOpaque(object).takeUnretainedValue()
    }

    static func from(store: OpaquePointer?) -> DTLSTransport? {
        guard let ssl = unsafe X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()) else {
            return nil
        }
        return unsafe from(ssl: OpaquePointer(ssl))
    }

    /// OpenSSL takes the last 15 ms of a timeout for none; a deadline must lie in the future nonetheless.
    private static let timerResolution = Duration.milliseconds(1)
}
