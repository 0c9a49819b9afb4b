package import SansIO

/// Sequence numbers that a receiver misses.
///
/// RFC 4585 §6.2.1
package struct RTCPNack: Hashable, Sendable {
    package var senderSSRC: UInt32
    package var mediaSSRC: UInt32
    /// In the order of the packet.
    package var lost: [SequenceNumber]

    package init(senderSSRC: UInt32, mediaSSRC: UInt32, lost: [SequenceNumber]) {
        self.senderSSRC = senderSSRC
        self.mediaSSRC = mediaSSRC
        self.lost = lost
    }

    /// The packet identifiers and bit masks which stand for `lost`, whose numbers ascend.
    var entries: [(first: UInt16, following: UInt16)] {
        var entries: [(first: UInt16, following: UInt16)] = []
        for number in lost {
            if let last = entries.last {
                let distance = number.distance(from: SequenceNumber(last.first))
                if (1...16).contains(distance) {
                    entries[entries.count - 1].following |= 1 << UInt16(distance - 1)
                    continue
                }
            }
            entries.append((number.rawValue, 0))
        }
        return entries
    }
}

/// A receiver has lost the picture: it needs an intra frame.
///
/// RFC 4585 §6.3.1
package struct RTCPPictureLossIndication: Hashable, Sendable {
    package var senderSSRC: UInt32
    package var mediaSSRC: UInt32

    package init(senderSSRC: UInt32, mediaSSRC: UInt32) {
        self.senderSSRC = senderSSRC
        self.mediaSSRC = mediaSSRC
    }
}

/// A receiver demands an intra frame of each source named.
///
/// RFC 5104 §4.3.1
package struct RTCPFullIntraRequest: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        package var ssrc: UInt32
        /// Grows by one with each new request; the same number again is a repetition.
        package var sequenceNumber: UInt8

        package init(ssrc: UInt32, sequenceNumber: UInt8) {
            self.ssrc = ssrc
            self.sequenceNumber = sequenceNumber
        }
    }
    package var senderSSRC: UInt32
    package var entries: [Entry]

    package init(senderSSRC: UInt32, entries: [Entry]) {
        self.senderSSRC = senderSSRC
        self.entries = entries
    }
}

/// The bit rate that a receiver believes its path can carry.
///
/// draft-alvestrand-rmcat-remb-03 §2.2
package struct RTCPReceiverEstimatedMaximumBitRate: Hashable, Sendable {
    package var senderSSRC: UInt32
    package var bitsPerSecond: UInt64
    package var ssrcs: [UInt32]

    package init(senderSSRC: UInt32, bitsPerSecond: UInt64, ssrcs: [UInt32]) {
        self.senderSSRC = senderSSRC
        self.bitsPerSecond = bitsPerSecond
        self.ssrcs = ssrcs
    }

    static let uniqueIdentifier: UInt32 = 0x5245_4D42  // "REMB"
}
