internal import H264
internal import SansIO

/// What a payload in H.264 holds, of those that `packetization-mode=1` allows.
///
/// RFC 6184 §5.2: single NAL units, STAP-A and FU-A. What belongs to mode 2 alone (STAP-B, MTAP, FU-B) is refused.
package struct H264PayloadParts: Hashable, Sendable {
    /// A part of the picture, by place in the payload.
    package enum Part: Hashable, Sendable {
        case unit(Range<Int>)
        /// A piece of a unit whose first byte is `header`.
        case fragment(Range<Int>, header: UInt8, isFirst: Bool, isLast: Bool)
    }

    package private(set) var parts: [Part] = []
    /// Whether the payload can be the first of a picture: it does not go on with a unit.
    package private(set) var startsFrame = true
    /// Whether a sequence parameter set is in it: decoding can begin here.
    ///
    /// RFC 7742 §6.2 wants them in the stream, and encoders send them with each key frame.
    package private(set) var holdsParameterSets = false

    /// Parses a payload, which is not kept.
    package init(_ payload: RawSpan) throws(RTPError) {
        guard payload.byteCount > 0 else { throw .truncated }
        let first = payload.uint8(at: 0)
        switch first & 0x1F {
        case H264Payloads.stapA: try readAggregate(payload)
        case H264Payloads.fuA: try readFragment(payload, indicator: first)
        default: try append(0..<payload.byteCount, header: first)
        }
    }

    private mutating func append(_ unit: Range<Int>, header: UInt8) throws(RTPError) {
        let type = NALUnitType(header: header)
        guard type.isOfStream else { throw .badValue }
        if type == .sps { holdsParameterSets = true }
        parts.append(.unit(unit))
    }

    private mutating func readAggregate(_ payload: RawSpan) throws(RTPError) {
        var offset = 1
        while offset < payload.byteCount {
            guard offset + 2 < payload.byteCount else { throw .truncated }
            let count = Int(payload.uint8(at: offset)) << 8 | Int(payload.uint8(at: offset + 1))
            offset += 2
            guard count > 0 else { throw .badValue }
            guard count <= payload.byteCount - offset else { throw .truncated }
            try append(offset..<(offset + count), header: payload.uint8(at: offset))
            offset += count
        }
        guard !parts.isEmpty else { throw .truncated }
    }

    private mutating func readFragment(_ payload: RawSpan, indicator: UInt8) throws(RTPError) {
        guard payload.byteCount > 2 else { throw .truncated }
        let head = payload.uint8(at: 1)
        let (isFirst, isLast) = (head & 0x80 != 0, head & 0x40 != 0)
        // "A fragmented NAL unit MUST NOT be transmitted in one FU" (§5.8).
        guard !(isFirst && isLast), NALUnitType(header: head).isOfStream else { throw .badValue }
        startsFrame = isFirst
        if isFirst, NALUnitType(header: head) == .sps { holdsParameterSets = true }
        let header = indicator & 0xE0 | head & 0x1F
        parts = [.fragment(2..<payload.byteCount, header: header, isFirst: isFirst, isLast: isLast)]
    }
}

/// Puts the payloads of one picture together again, in the byte stream format.
package struct H264PictureWriter {
    /// The picture so far, each unit behind a start code.
    package private(set) var bytes: [UInt8] = []
    private var hasIDR = false
    private var hasParameterSets = false
    /// Whether a unit has begun whose end has not come.
    private var isUnitOpen = false

    /// - Parameter byteCount: of all payloads together.
    package init(byteCount: Int) { bytes.reserveCapacity(byteCount + 64) }

    /// Whether decoding can begin with the picture.
    package var isKeyFrame: Bool { hasIDR && hasParameterSets }

    /// Adds the next payload in order; pieces of a unit without a beginning are left out.
    package mutating func append(_ payload: UnsafeRawBufferPointer) {
        guard let content = unsafe try? H264PayloadParts(payload.bytes) else { return }
        for part in content.parts {
            switch part {
            case .unit(let range):
                isUnitOpen = false
                unsafe begin(payload[range.lowerBound])
                unsafe bytes.append(contentsOf: payload[range.dropFirst()])
            case .fragment(let range, let header, let isFirst, let isLast):
                if isFirst { begin(header) }
                guard isFirst || isUnitOpen else { return }
                isUnitOpen = !isLast
                unsafe bytes.append(contentsOf: payload[range])
            }
        }
    }

    private mutating func begin(_ header: UInt8) {
        let type = NALUnitType(header: header)
        if type == .idr { hasIDR = true }
        if type == .sps { hasParameterSets = true }
        bytes += AnnexB.startCode
        bytes.append(header)
    }
}
