internal import Logging
internal import NIOCore
internal import PeerEngine
internal import RTP
internal import SansIO

extension PeerDriver {
    /// Starts, changes or stops sending on a transceiver.
    func setSending(_ id: TransceiverID, mid: String, parameters: RTPSendParameters?) {
        guard let parameters, let transceiver = transceivers[id] else {
            sendPipelines.removeValue(forKey: id)?.stop()
            peersWantingDTX.remove(id)
            videoAgreements[id] = nil
            lostEncodings[id] = nil
            return
        }
        if parameters.codec.fmtp["usedtx"] == "1" { peersWantingDTX.insert(id) } else { peersWantingDTX.remove(id) }
        if sendPipelines[id] == nil {
            let send: @Sendable (EncodedFrame) -> Void = { [weak self, eventLoop] frame in
                eventLoop.execute { [weak self] in self?.assumeIsolated { $0.send(frame, mid: mid) } }
            }
            let encodingLost: @Sendable () -> Void = { [weak self, eventLoop] in
                eventLoop.execute { [weak self] in self?.assumeIsolated { $0.encodingLost(id) } }
            }
            let refused: @Sendable (RTCError) -> Void = { [weak self, eventLoop] error in
                eventLoop.execute { [weak self] in self?.assumeIsolated { $0.view.deliver(.error(error)) } }
            }
            sendPipelines[id] =
                parameters.codec.codec.kind == .video
                ? VideoSendPipeline(mid: mid, encodingLost: encodingLost, refused: refused, send: send)
                : AudioSendPipeline(mid: mid, codec: parameters.codec.codec, refused: refused, send: send)
        }
        if parameters.codec.codec.kind == .video { videoAgreements[id] = parameters }
        setTrack(of: id, transceiver.sender)
        setDTX(id, transceiver.sender)
        if engine.connectionState == .connected { sendPipelines[id]?.setActive(true) }
    }

    /// Starts or stops receiving on a transceiver.
    func setReceiving(_ id: TransceiverID, mid: String, parameters: RTPReceiveParameters?) {
        guard let transceiver = transceivers[id], parameters != nil else {
            let pipeline = receivePipelines.removeValue(forKey: mid)
            pipeline?.receiver.setKeyFrameRequest(nil)
            pipeline?.stop()
            return
        }
        guard receivePipelines[mid] == nil else { return }
        if transceiver.kind == .audio {
            receivePipelines[mid] = AudioReceivePipeline(receiver: transceiver.receiver)
        } else {
            let requestKeyFrame: @Sendable () -> Void = { [weak self, eventLoop] in
                eventLoop.execute { [weak self] in self?.assumeIsolated { $0.requestKeyFrame(mid: mid) } }
            }
            transceiver.receiver.setKeyFrameRequest(requestKeyFrame)
            receivePipelines[mid] = VideoReceivePipeline(
                receiver: transceiver.receiver,
                requestKeyFrame: requestKeyFrame
            )
        }
    }

    /// The sender has another track or limit.
    func senderTrackReplaced(_ sender: RTCRtpSender) {
        guard !isClosed, let id = transceivers.first(where: { $0.value.sender === sender })?.key else { return }
        setTrack(of: id, sender)
        setDTX(id, sender)
    }

    /// Sends a sender's track, in a codec that was agreed on and that the track can be had in.
    private func setTrack(of id: TransceiverID, _ sender: RTCRtpSender) {
        guard let pipeline = sendPipelines[id] as? VideoSendPipeline, var parameters = videoAgreements[id] else {
            sendPipelines[id]?.setTrack(sender.track)
            return
        }
        let track = sender.track
        let isLost = track.map { lostEncodings[id] == ObjectIdentifier($0) } ?? false
        let encodings = isLost ? [] : track?.preferredEncodings ?? []
        let encoding = encodings.first { own in parameters.codecs.contains { $0.codec == RTPCodec(own) } }
        let wanted = encoding.map { RTPCodec($0) } ?? .vp8
        guard let codec = parameters.codecs.first(where: { $0.codec == wanted }) else {
            let agreed = parameters.codecs.map(\.codec.name).joined(separator: ", ")
            if let track {
                log.error("\(track.label) is not sent: it cannot be had in \(agreed), all that the peer takes")
            }
            return pipeline.setTrack(nil)
        }
        if encoding == nil, let track, track.source.isEncodedOnly {
            let own = track.encodings.map { RTPCodec($0).name }.joined(separator: ", ")
            log.error("\(track.label) is not sent: it gives \(own) alone, which the peer does not take")
            return pipeline.setTrack(nil)
        }
        parameters.codec = codec
        engine.rtp.setSend(parameters, mid: parameters.mid, at: Self.now())
        pipeline.setTrack(track, encoding: encoding)
    }

    /// The source of a sender's track does not encode any more: its pictures are encoded here.
    private func encodingLost(_ id: TransceiverID) {
        guard !isClosed, let sender = transceivers[id]?.sender, let track = sender.track else { return }
        lostEncodings[id] = ObjectIdentifier(track)
        log.info("\(track.label) is encoded here: its own encoding cannot be had while others need its pictures")
        setTrack(of: id, sender)
        drain()
    }

    /// Brings what descriptions list of H.264 in line with the tracks and with what is to be received.
    func updateH264() {
        for (id, transceiver) in transceivers where transceiver.kind == .video {
            let isWanted = transceiver.receivedEncodings.contains(.h264)
            let isSent = transceiver.sender.track?.preferredEncodings.contains(.h264) ?? false
            engine.negotiator.setH264(isWanted ? .first : isSent ? .afterOthers : .none, of: id)
        }
    }

    /// Silence is left out if the sender says so, or the peer has asked for it. RFC 7587 §6.1 (`usedtx`)
    private func setDTX(_ id: TransceiverID, _ sender: RTCRtpSender) {
        guard let pipeline = sendPipelines[id] as? AudioSendPipeline else { return }
        pipeline.setDTX(sender.discontinuousTransmission ?? peersWantingDTX.contains(id))
    }

    private func send(_ frame: EncodedFrame, mid: String) {
        guard !isClosed else { return }
        engine.rtp.send(frame, mid: mid, at: Self.now())
        drain()
    }

    private func requestKeyFrame(mid: String) {
        guard !isClosed else { return }
        engine.rtp.requestKeyFrame(mid: mid, at: Self.now())
        drain()
    }

    func sendTestPackets(of sender: RTCRtpSender, count: Int, byteCount: Int) -> Int {
        guard !isClosed, let (id, _) = transceivers.first(where: { $0.value.sender === sender }),
            let mid = engine.negotiator.transceiver(id)?.mid
        else { return 0 }
        let payload = [UInt8](repeating: 0, count: min(max(byteCount, 1), 1_200))
        let now = Self.now()
        var sent = 0
        for _ in 0..<count {
            let isSent = unsafe payload.withUnsafeBytes { bytes in
                unsafe engine.rtp.sendPacket(
                    payload: bytes,
                    mid: mid,
                    marker: true,
                    timestamp: UInt32(truncatingIfNeeded: now.nanoseconds / 11_111),
                    at: now
                )
            }
            if isSent { sent += 1 }
        }
        drain()
        return sent
    }
}
