package import SansIO

/// The bytes around a peer's datagram between a TURN client and its server, written in place.
///
/// RFC 8656 §11, §12
package enum TURNFraming {
    /// Bytes before the data of a ChannelData message.
    package static let channelHeaderByteCount = 4
    /// The numbers that channels may have.
    package static let channelNumbers: ClosedRange<UInt16> = 0x4000...0x4FFF
    /// The numbers that clients before RFC 8656 choose among (RFC 5766 §11); a server tells them from all else on its
    /// ports, too.
    package static let formerChannelNumbers: ClosedRange<UInt16> = 0x4000...0x7FFF
    /// Most bytes of padding behind data.
    package static let maximumPadding = 3

    /// Writes the header of a ChannelData message before its data, and the padding behind.
    ///
    /// - Parameters:
    ///   - target: has the data behind room for the header, and room for the padding.
    ///   - number: the channel's.
    ///   - byteCount: the data's length, at most 65 535.
    ///   - isPadded: whether it goes along a stream; over UDP padding "is not required" (RFC 8656 §12.5) and would only
    ///     be sent along.
    /// - Returns: the message's length.
    package static func frameChannelData(
        _ target: UnsafeMutableRawBufferPointer,
        number: UInt16,
        byteCount: Int,
        isPadded: Bool
    ) -> Int {
        unsafe target.store(number, at: 0)
        unsafe target.store(UInt16(truncatingIfNeeded: byteCount), at: 2)
        let end = channelHeaderByteCount + byteCount
        return unsafe isPadded ? target.pad(from: end) : end
    }

    /// Bytes before the data of a Send or Data indication.
    package static func indicationHeaderByteCount(_ peer: IPAddress) -> Int {
        STUNMessage.headerByteCount + 2 * STUNMessage.attributeHeaderByteCount + addressByteCount(peer)
    }

    /// Writes the header of an indication before its data, and the padding behind.
    ///
    /// - Parameters:
    ///   - target: has the data behind room for the header, and room for the padding.
    ///   - method: Send or Data.
    ///   - id: of the message.
    ///   - peer: whom it is for, or from.
    ///   - byteCount: the data's length, at most 65 535.
    /// - Returns: the message's length.
    package static func frameIndication(
        _ target: UnsafeMutableRawBufferPointer,
        _ method: STUNMethod,
        _ id: STUNTransactionID,
        peer: TransportAddress,
        byteCount: Int
    ) -> Int {
        let address = peer.applyingSTUNMask(id)
        let addressByteCount = addressByteCount(peer.ip)
        let dataOffset = STUNMessage.headerByteCount + STUNMessage.attributeHeaderByteCount + addressByteCount
        let end = unsafe target.pad(from: dataOffset + STUNMessage.attributeHeaderByteCount + byteCount)
        unsafe target.store(STUNMessageType(.indication, method).wireValue, at: 0)
        unsafe target.store(UInt16(truncatingIfNeeded: end - STUNMessage.headerByteCount), at: 2)
        unsafe target.store(STUNMessage.magicCookie, at: 4)
        unsafe target.store(id.high, at: 8)
        unsafe target.store(id.low, at: 12)
        unsafe target.store(STUNAttributeType.xorPeerAddress.rawValue, at: 20)
        unsafe target.store(UInt16(truncatingIfNeeded: addressByteCount), at: 22)
        unsafe target.store(UInt16(peer.ip.isIPv4 ? 1 : 2), at: 24)
        unsafe target.store(address.port, at: 26)
        if peer.ip.isIPv4 {
            unsafe target.store(UInt32(truncatingIfNeeded: address.ip.low), at: 28)
        } else {
            unsafe target.store(address.ip.high, at: 28)
            unsafe target.store(address.ip.low, at: 36)
        }
        unsafe target.store(STUNAttributeType.data.rawValue, at: dataOffset)
        unsafe target.store(UInt16(truncatingIfNeeded: byteCount), at: dataOffset + 2)
        return end
    }

    private static func addressByteCount(_ ip: IPAddress) -> Int { ip.isIPv4 ? 8 : 20 }
}

extension UnsafeMutableRawBufferPointer {
    /// Writes an integer, big-endian.
    fileprivate func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int) {
        unsafe storeBytes(of: value.bigEndian, toByteOffset: offset, as: Value.self)
    }

    /// Writes zeros up to a multiple of four, for which there is room.
    ///
    /// - Returns: that multiple.
    fileprivate func pad(from offset: Int) -> Int {
        let end = (offset + 3) & ~3
        for index in offset..<end { unsafe self[index] = 0 }
        return end
    }
}
