internal import SansIO

/// When the packets of one transport arrived, by their transport-wide sequence numbers.
///
/// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1
package struct RTCPTransportFeedback: Hashable, Sendable {
    package var senderSSRC: UInt32
    package var mediaSSRC: UInt32
    package var baseSequenceNumber: UInt16
    /// Multiples of 64 ms, 24 bits signed, of the receiver's clock.
    package var referenceTime: Int32
    package var feedbackCount: UInt8
    /// For each packet from the base on: its arrival after the one before (the first: after the reference time)
    /// in multiples of 250 µs, or nil if it has not arrived.
    package var deltas: [Int16?]

    /// Most packets in one feedback message; it stands for some seconds at any rate we know.
    package static let packetLimit = 8_192
    package static let tickNanoseconds: Int64 = 250_000
    package static let referenceNanoseconds: Int64 = 64_000_000

    package init(
        senderSSRC: UInt32,
        mediaSSRC: UInt32,
        baseSequenceNumber: UInt16,
        referenceTime: Int32,
        feedbackCount: UInt8,
        deltas: [Int16?]
    ) {
        self.senderSSRC = senderSSRC
        self.mediaSSRC = mediaSSRC
        self.baseSequenceNumber = baseSequenceNumber
        self.referenceTime = referenceTime
        self.feedbackCount = feedbackCount
        self.deltas = deltas
    }

    init(senderSSRC: UInt32, mediaSSRC: UInt32, _ reader: inout ByteReader) throws(RTPError) {
        self.senderSSRC = senderSSRC
        self.mediaSSRC = mediaSSRC
        guard let base = reader.readUInt16(), let count = reader.readUInt16(), let reference = reader.readUInt24(),
            let feedbackCount = reader.readUInt8()
        else { throw .truncated }
        guard count > 0, count <= Self.packetLimit else { throw .badValue }
        baseSequenceNumber = base
        referenceTime = Int32(bitPattern: reference << 8) >> 8
        self.feedbackCount = feedbackCount

        // First the symbols: 0 not received, 1 small delta, 2 large or negative delta.
        var symbols: [UInt8] = []
        symbols.reserveCapacity(Int(count))
        while symbols.count < count {
            guard let chunk = reader.readUInt16() else { throw .truncated }
            let wanted = Int(count) - symbols.count
            if chunk & 0x8000 == 0 {
                let symbol = UInt8(chunk >> 13 & 3)
                symbols.append(contentsOf: repeatElement(symbol, count: min(Int(chunk & 0x1FFF), wanted)))
                guard chunk & 0x1FFF != 0 else { throw .badValue }
            } else if chunk & 0x4000 == 0 {
                for index in 0..<min(14, wanted) { symbols.append(UInt8(chunk >> UInt16(13 - index) & 1)) }
            } else {
                for index in 0..<min(7, wanted) { symbols.append(UInt8(chunk >> UInt16(12 - 2 * index) & 3)) }
            }
        }
        deltas = []
        deltas.reserveCapacity(symbols.count)
        for symbol in symbols {
            switch symbol {
            case 0: deltas.append(nil)
            case 1:
                guard let delta = reader.readUInt8() else { throw .truncated }
                deltas.append(Int16(delta))
            case 2:
                guard let delta = reader.readUInt16() else { throw .truncated }
                deltas.append(Int16(bitPattern: delta))
            default: throw .badValue
            }
        }
    }

    func writeBody(into writer: inout ByteWriter) {
        writer.write(baseSequenceNumber)
        writer.write(UInt16(deltas.count))
        writer.writeUInt24(UInt32(bitPattern: referenceTime) & 0xFF_FFFF)
        writer.write(feedbackCount)
        var index = 0
        while index < deltas.count {
            let symbol = Self.symbol(deltas[index])
            var run = 1
            while index + run < deltas.count, run < 0x1FFF, Self.symbol(deltas[index + run]) == symbol { run += 1 }
            let rest = deltas.count - index
            if run >= min(7, rest) {
                writer.write(symbol << 13 | UInt16(run))
                index += run
                continue
            }
            let ones = deltas[index..<min(index + 14, deltas.count)]
            if !ones.contains(where: { Self.symbol($0) == 2 }) {
                var chunk: UInt16 = 0x8000
                for (place, delta) in ones.enumerated() { chunk |= Self.symbol(delta) << UInt16(13 - place) }
                writer.write(chunk)
                index += ones.count
            } else {
                var chunk: UInt16 = 0xC000
                let twos = deltas[index..<min(index + 7, deltas.count)]
                for (place, delta) in twos.enumerated() { chunk |= Self.symbol(delta) << UInt16(12 - 2 * place) }
                writer.write(chunk)
                index += twos.count
            }
        }
        for case .some(let delta) in deltas {
            if (0...255).contains(delta) {
                writer.write(UInt8(delta))
            } else {
                writer.write(UInt16(bitPattern: delta))
            }
        }
    }

    private static func symbol(_ delta: Int16?) -> UInt16 {
        guard let delta else { return 0 }
        return (0...255).contains(delta) ? 1 : 2
    }
}
