internal import SansIO

/// How a channel is made.
package struct DataChannelParameters: Hashable, Sendable {
    package var label: String
    package var `protocol`: String
    package var ordered = true
    package var maxRetransmits: UInt16?
    /// In milliseconds.
    package var maxPacketLifeTime: UInt16?
    package var negotiated = false
    package var id: UInt16?
    package var priority: UInt16 = 256

    package init(label: String, protocol: String = "") {
        self.label = label
        self.protocol = `protocol`
    }
}

/// The messages that open channels. RFC 8832 §5
enum DCEP {
    static let ppid: UInt32 = 50
    static let acknowledgement: [UInt8] = [0x02]

    static func open(_ parameters: DataChannelParameters) -> [UInt8] {
        var writer = ByteWriter()
        var type: UInt8 = 0
        var reliability: UInt32 = 0
        if let count = parameters.maxRetransmits {
            type = 0x01
            reliability = UInt32(count)
        } else if let milliseconds = parameters.maxPacketLifeTime {
            type = 0x02
            reliability = UInt32(milliseconds)
        }
        if !parameters.ordered { type |= 0x80 }
        let label = Array(parameters.label.utf8.prefix(65_535))
        let name = Array(parameters.protocol.utf8.prefix(65_535))
        writer.write(UInt8(0x03))
        writer.write(type)
        writer.write(parameters.priority)
        writer.write(reliability)
        writer.write(UInt16(label.count))
        writer.write(UInt16(name.count))
        writer.write(label)
        writer.write(name)
        return writer.bytes
    }

    enum Message {
        case open(DataChannelParameters)
        case acknowledgement
    }

    /// Parses a message; nil if it is broken.
    static func parse(_ bytes: RawSpan) -> Message? {
        var reader = ByteReader(bytes)
        switch reader.readUInt8() {
        case 0x02: return .acknowledgement
        case 0x03:
            guard let type = reader.readUInt8(), let priority = reader.readUInt16(),
                let reliability = reader.readUInt32(),
                let labelCount = reader.readUInt16(), let nameCount = reader.readUInt16(),
                let label = reader.readBytes(Int(labelCount)), let name = reader.readBytes(Int(nameCount))
            else { return nil }
            var parameters = DataChannelParameters(
                label: String(decoding: label, as: UTF8.self),
                protocol: String(decoding: name, as: UTF8.self)
            )
            parameters.priority = priority
            parameters.ordered = type & 0x80 == 0
            switch type & 0x7F {
            case 0x00: break
            case 0x01: parameters.maxRetransmits = UInt16(clamping: reliability)
            case 0x02: parameters.maxPacketLifeTime = UInt16(clamping: reliability)
            default: return nil
            }
            return .open(parameters)
        default: return nil
        }
    }
}
