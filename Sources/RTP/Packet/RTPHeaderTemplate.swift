package import SansIO

/// The header which all packets of a stream share, made once; sending a packet copies it and fills in the rest.
///
/// Extensions whose value is known only when the packet leaves (transport-wide sequence number, send time) have
/// their place reserved, so stamping a packet never moves its payload.
package struct RTPHeaderTemplate: Sendable {
    private let bytes: [UInt8]
    private let transportSequenceOffset: Int?
    private let absoluteSendTimeOffset: Int?
    private let audioLevelOffset: Int?

    /// Longest MID that is sent; the one-byte form holds 16 bytes.
    package static let midByteLimit = 16

    package init(payloadType: UInt8, ssrc: UInt32, mid: String, extensions ids: RTPHeaderExtensionIDs) {
        var elements: [(id: UInt8, content: [UInt8])] = []
        let midBytes = Array(mid.utf8.prefix(Self.midByteLimit))
        if let id = ids.transportCC { elements.append((id, [0, 0])) }
        if let id = ids.absSendTime { elements.append((id, [0, 0, 0])) }
        // RFC 6464: a level of 127 is digital silence; voice activity unknown.
        if let id = ids.audioLevel { elements.append((id, [0x7F])) }
        if let id = ids.mid, !midBytes.isEmpty { elements.append((id, midBytes)) }
        elements.removeAll { $0.id == 0 }
        let isTwoByte = elements.contains { $0.id > 14 }

        var writer = ByteWriter(reserving: 48)
        writer.write(elements.isEmpty ? UInt8(0x80) : 0x90)
        writer.write(payloadType & 0x7F)
        writer.write(UInt16(0))
        writer.write(UInt32(0))
        writer.write(ssrc)
        var offsets: [UInt8: Int] = [:]
        if !elements.isEmpty {
            writer.write(UInt16(isTwoByte ? 0x1000 : 0xBEDE))
            writer.write(UInt16(0))
            for (id, content) in elements {
                if isTwoByte {
                    writer.write(id)
                    writer.write(UInt8(content.count))
                } else {
                    writer.write(id << 4 | UInt8(content.count - 1))
                }
                offsets[id] = writer.count
                writer.write(content)
            }
            writer.pad(to: 4)
            writer.replace(at: 14, with: UInt16((writer.count - 16) / 4))
        }
        bytes = writer.bytes
        transportSequenceOffset = ids.transportCC.flatMap { offsets[$0] }
        absoluteSendTimeOffset = ids.absSendTime.flatMap { offsets[$0] }
        audioLevelOffset = ids.audioLevel.flatMap { offsets[$0] }
    }

    /// Bytes before the payload.
    package var byteCount: Int { bytes.count }
    /// Whether packets carry a transport-wide sequence number.
    package var carriesTransportSequenceNumber: Bool { transportSequenceOffset != nil }

    /// Writes the header at the beginning of `packet`, which has room for it.
    package func write(
        into packet: UnsafeMutableRawBufferPointer,
        sequenceNumber: SequenceNumber,
        timestamp: UInt32,
        marker: Bool
    ) {
        // The caller's buffer is a pool slot or reserved queue space, far larger than a header.
        unsafe bytes.withUnsafeBytes { unsafe packet.copyMemory(from: $0) }
        if marker { unsafe packet[1] |= 0x80 }
        unsafe packet.storeBytes(of: sequenceNumber.rawValue.bigEndian, toByteOffset: 2, as: UInt16.self)
        unsafe packet.storeBytes(of: timestamp.bigEndian, toByteOffset: 4, as: UInt32.self)
    }

    /// Fills in what is known only when the packet leaves.
    package func stamp(
        _ packet: UnsafeMutableRawBufferPointer,
        transportSequenceNumber: UInt16,
        at now: Instant
    ) {
        if let offset = transportSequenceOffset {
            unsafe packet.storeBytes(of: transportSequenceNumber.bigEndian, toByteOffset: offset, as: UInt16.self)
        }
        if let offset = absoluteSendTimeOffset {
            let time = Self.absoluteSendTime(now)
            unsafe packet[offset] = UInt8(truncatingIfNeeded: time >> 16)
            unsafe packet[offset + 1] = UInt8(truncatingIfNeeded: time >> 8)
            unsafe packet[offset + 2] = UInt8(truncatingIfNeeded: time)
        }
    }

    /// Sets the audio level of a packet, from 0 (loudest) to 127 (silence).
    package func setAudioLevel(_ level: UInt8, hasVoice: Bool, in packet: UnsafeMutableRawBufferPointer) {
        guard let offset = audioLevelOffset else { return }
        unsafe packet[offset] = min(level, 127) | (hasVoice ? 0x80 : 0)
    }

    /// Seconds modulo 64 in 6.18 fixed point.
    package static func absoluteSendTime(_ instant: Instant) -> UInt32 {
        let nanoseconds = UInt64(bitPattern: instant.nanoseconds) % 64_000_000_000
        return UInt32(truncatingIfNeeded: (nanoseconds << 18) / 1_000_000_000) & 0xFF_FFFF
    }
}
