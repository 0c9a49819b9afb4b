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
            return
        }
        if parameters.codec.fmtp["usedtx"] == "1" { peersWantingDTX.insert(id) } else { peersWantingDTX.remove(id) }
        if sendPipelines[id] == nil {
            let send: @Sendable (EncodedFrame) -> Void = { [weak self, eventLoop] frame in
                eventLoop.execute { [weak self] in self?.assumeIsolated { $0.send(frame, mid: mid) } }
            }
            sendPipelines[id] =
                parameters.codec.codec.kind == .video
                ? VideoSendPipeline(mid: mid, send: send)
                : AudioSendPipeline(mid: mid, codec: parameters.codec.codec, send: send)
        }
        sendPipelines[id]?.setTrack(transceiver.sender.track)
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
        guard !isClosed, let (id, transceiver) = transceivers.first(where: { $0.value.sender === sender }) else {
            return
        }
        sendPipelines[id]?.setTrack(transceiver.sender.track)
        setDTX(id, sender)
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
