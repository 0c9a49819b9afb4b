internal import SansIO

/// The identifiers negotiated for header extensions (`a=extmap`), from 1 to 255.
package struct RTPHeaderExtensionIDs: Hashable, Sendable {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 8843 §15).
    package var mid: UInt8?
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    package var transportCC: UInt8?
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    package var absSendTime: UInt8?
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    package var audioLevel: UInt8?

    package init(
        mid: UInt8? = nil,
        transportCC: UInt8? = nil,
        absSendTime: UInt8? = nil,
        audioLevel: UInt8? = nil
    ) {
        self.mid = mid
        self.transportCC = transportCC
        self.absSendTime = absSendTime
        self.audioLevel = audioLevel
    }

    /// These identifiers, and those of `other` where none is set here.
    package func merging(_ other: RTPHeaderExtensionIDs) -> RTPHeaderExtensionIDs {
        RTPHeaderExtensionIDs(
            mid: mid ?? other.mid,
            transportCC: transportCC ?? other.transportCC,
            absSendTime: absSendTime ?? other.absSendTime,
            audioLevel: audioLevel ?? other.audioLevel
        )
    }
}

/// One element of a header extension: its identifier and where in the packet its bytes lie.
package struct RTPHeaderExtensionElement: Hashable, Sendable {
    package var id: UInt8
    package var offset: Int
    package var byteCount: Int
}

/// Walks over the elements of a header extension.
///
/// RFC 8285 §4.2, §4.3
package struct RTPHeaderExtensionCursor: Sendable {
    private let isTwoByte: Bool
    private var offset: Int
    private var end: Int

    package init(_ header: RTPHeader) {
        isTwoByte = header.extensionProfile & 0xFFF0 == 0x1000
        offset = header.extensionOffset
        end = header.extensionProfile == 0xBEDE || isTwoByte ? offset + header.extensionByteCount : offset
    }

    /// The next element of the packet whose header was given, or nil at the end or at the first broken element.
    package mutating func next(in packet: RawSpan) -> RTPHeaderExtensionElement? {
        while offset < end {
            let first = packet.uint8(at: offset)
            if first == 0 {  // padding
                offset += 1
                continue
            }
            let element: RTPHeaderExtensionElement
            if isTwoByte {
                guard offset + 2 <= end else { break }
                element = .init(id: first, offset: offset + 2, byteCount: Int(packet.uint8(at: offset + 1)))
            } else {
                // "If the ID value 15 is used, its length field should be ignored, processing of the entire
                // extension should terminate at that point."
                guard first >> 4 != 15 else { break }
                element = .init(id: first >> 4, offset: offset + 1, byteCount: Int(first & 0x0F) + 1)
            }
            guard element.offset + element.byteCount <= end else { break }
            offset = element.offset + element.byteCount
            return element
        }
        offset = end
        return nil
    }
}

/// The values of the extensions that we know, taken from one packet.
package struct RTPHeaderExtensionValues: Hashable, Sendable {
    /// Where the MID lies in the packet; `midByteCount` is 0 without one.
    package private(set) var midOffset = 0
    package private(set) var midByteCount = 0
    package private(set) var transportSequenceNumber: UInt16?
    /// Seconds, 6.18 fixed point, modulo 64.
    package private(set) var absoluteSendTime: UInt32?
    /// Negative decibels relative to full scale, from 0 to 127.
    package private(set) var audioLevel: UInt8?
    package private(set) var hasVoice = false

    package init(_ header: RTPHeader, in packet: RawSpan, ids: RTPHeaderExtensionIDs) {
        guard header.extensionByteCount > 0 else { return }
        var cursor = RTPHeaderExtensionCursor(header)
        while let element = cursor.next(in: packet) {
            switch element.id {
            case ids.mid:
                midOffset = element.offset
                midByteCount = element.byteCount
            case ids.transportCC where element.byteCount >= 2:
                transportSequenceNumber = packet.uint16(at: element.offset)
            case ids.absSendTime where element.byteCount == 3:
                absoluteSendTime =
                    UInt32(packet.uint8(at: element.offset)) << 16 | UInt32(packet.uint16(at: element.offset + 1))
            case ids.audioLevel where element.byteCount >= 1:
                let value = packet.uint8(at: element.offset)
                audioLevel = value & 0x7F
                hasVoice = value & 0x80 != 0
            default: break
            }
        }
    }
}
