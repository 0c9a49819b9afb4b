internal import H264

/// How a picture in H.264 is put into payloads, as `packetization-mode=1` has it.
///
/// What is small travels together (STAP-A), as the parameter sets and the slices behind them; what is too long for a
/// packet in fragments (FU-A); the rest as it is. RFC 6184 §5.6 to 5.8, §6.3
package struct H264Payloads: Sendable {
    package enum Payload: Hashable, Sendable {
        /// One NAL unit, as it is.
        case single(Range<Int>)
        /// Several units, each behind its length.
        case aggregate([Range<Int>])
        /// A part of a unit, without that unit's first byte, which is `header`.
        case fragment(Range<Int>, header: UInt8, isFirst: Bool, isLast: Bool)

        /// Bytes of the payload.
        package var byteCount: Int {
            switch self {
            case .single(let range): range.count
            case .aggregate(let ranges): ranges.reduce(1) { $0 + 2 + $1.count }
            case .fragment(let range, _, _, _): 2 + range.count
            }
        }
    }

    /// In the order in which they are sent.
    package private(set) var payloads: [Payload] = []
    /// Units that may not be in a stream, and were left out.
    package private(set) var droppedUnitCount = 0

    /// The types that stand for several units and for a part of one (RFC 6184 §5.4).
    static let stapA: UInt8 = 24
    static let fuA: UInt8 = 28

    /// Divides a picture in the byte stream format of Annex B.
    ///
    /// - Parameters:
    ///   - picture: an access unit.
    ///   - limit: most bytes of one payload, at least 16.
    package init(_ picture: [UInt8], limit: Int) {
        var waiting: [Range<Int>] = []
        var waitingByteCount = 1
        for unit in AnnexB.units(in: picture) {
            let header = picture[unit.lowerBound]
            guard NALUnitType(header: header).isOfStream else {
                droppedUnitCount += 1
                continue
            }
            if !waiting.isEmpty, waitingByteCount + 2 + unit.count > limit { flush(&waiting, &waitingByteCount) }
            if unit.count > limit {
                fragment(unit, header: header, limit: limit)
            } else {
                waiting.append(unit)
                waitingByteCount += 2 + unit.count
            }
        }
        flush(&waiting, &waitingByteCount)
    }

    private mutating func flush(_ waiting: inout [Range<Int>], _ byteCount: inout Int) {
        if waiting.count > 1 { payloads.append(.aggregate(waiting)) }
        if waiting.count == 1 { payloads.append(.single(waiting[0])) }
        waiting = []
        byteCount = 1
    }

    private mutating func fragment(_ unit: Range<Int>, header: UInt8, limit: Int) {
        let content = (unit.lowerBound + 1)..<unit.upperBound
        let parts = PayloadPartition(frameByteCount: content.count, limit: limit - 2)
        for index in 0..<parts.count {
            let part = parts[index]
            payloads.append(
                .fragment(
                    (content.lowerBound + part.lowerBound)..<(content.lowerBound + part.upperBound),
                    header: header,
                    isFirst: index == 0,
                    isLast: index == parts.count - 1
                )
            )
        }
    }

    /// Writes a payload of `picture`; `target` has its ``Payload/byteCount``.
    package static func write(
        _ payload: Payload,
        of picture: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) {
        switch payload {
        case .single(let range): unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: picture[range]))
        case .aggregate(let ranges):
            // "F: the bitwise OR of all F bits; NRI: the maximum of all" (RFC 6184 §5.7).
            var (forbidden, importance): (UInt8, UInt8) = (0, 0)
            var offset = 1
            for range in ranges {
                let header = unsafe picture[range.lowerBound]
                forbidden |= header & 0x80
                importance = max(importance, header & 0x60)
                unsafe target[offset] = UInt8(truncatingIfNeeded: range.count >> 8)
                unsafe target[offset + 1] = UInt8(truncatingIfNeeded: range.count)
                let place = (offset + 2)..<(offset + 2 + range.count)
                unsafe UnsafeMutableRawBufferPointer(rebasing: target[place])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: picture[range]))
                offset = place.upperBound
            }
            unsafe target[0] = forbidden | importance | stapA
        case .fragment(let range, let header, let isFirst, let isLast):
            unsafe target[0] = header & 0xE0 | fuA
            unsafe target[1] = (isFirst ? 0x80 : 0) | (isLast ? 0x40 : 0) | header & 0x1F
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[2...])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: picture[range]))
        }
    }
}
