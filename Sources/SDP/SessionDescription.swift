// SDP: session descriptions between text and typed values (RFC 8866, RFC 8829, RFC 8839, RFC 9143).
//
// The grammar is read leniently where a peer can only be wrong in form and strictly where its meaning would be
// guessed. What an offer or answer must contain is the negotiator's affair.

/// A session description: the session's part and its m-sections.
package struct SessionDescription: Hashable, Sendable {
    package var sessionID = "0"
    package var sessionVersion: UInt64 = 1
    /// The mids of `a=group:BUNDLE`, each group in order.
    package var bundleGroups: [[String]] = []
    package var isICELite = false
    package var allowsMixedExtensions = false
    package var media: [MediaDescription] = []

    /// Longest text that is read.
    package static let byteLimit = 1 << 20
    package static let lineByteLimit = 16 << 10
    package static let mediaLimit = 256
    package static let groupLimit = 256
    /// Formats, extensions, sources and candidates of one m-section, each.
    package static let attributeLimit = 512

    package init() {}
}

extension SessionDescription {
    /// Parses a description.
    package init(parsing text: String) throws(SDPError) {
        guard text.utf8.count <= Self.byteLimit else { throw .tooLarge(limit: Self.byteLimit) }
        var parser = SDPParser()
        var number = 0
        var rest = text.utf8[...]
        while !rest.isEmpty {
            number += 1
            let line = rest.prefix { $0 != 10 && $0 != 13 }
            // RFC 8866 §5: lines end with CR LF, "parsers SHOULD be tolerant and also accept records terminated with a
            // single newline"; a lone CR ends one too.
            let end = rest[line.endIndex...].prefix(2)
            rest = rest[line.endIndex...].dropFirst(end.elementsEqual([13, 10]) ? 2 : 1)
            guard !line.isEmpty else { continue }
            guard line.count <= Self.lineByteLimit else {
                throw .malformed(line: number, "longer than \(Self.lineByteLimit) bytes")
            }
            guard !line.contains(0) else { throw .malformed(line: number, "a NUL byte") }
            try parser.read(String(decoding: line, as: UTF8.self), number: number)
        }
        self = try parser.finish(line: number)
    }
}

/// Reads one line after another.
private struct SDPParser {
    private var description = SessionDescription()
    /// Session-level values that hold for each m-section without its own.
    private var sessionLevel = SDPSection(media: MediaDescription(kind: "", port: 0, transport: "", formats: []))
    private var hasVersion = false
    private var current: SDPSection?

    mutating func read(_ line: String, number: Int) throws(SDPError) {
        let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].count == 1 else { throw .malformed(line: number, "expected \"x=…\"") }
        let value = String(parts[1])
        switch parts[0] {
        case "v":
            guard value == "0" else { throw .malformed(line: number, "unknown version \(value.prefix(16))") }
            hasVersion = true
        case _ where !hasVersion: throw .malformed(line: number, "a description begins with v=0")
        case "o":
            let fields = value.split(separator: " ")
            guard fields.count == 6, fields[1].utf8.count <= 32, let version = UInt64(fields[2]) else {
                throw .malformed(line: number, "o= needs six fields")
            }
            description.sessionID = String(fields[1])
            description.sessionVersion = version
        case "m": try readMedia(value, number: number)
        case "a": try readAttribute(value, number: number)
        default: break
        }
    }

    mutating func finish(line: Int) throws(SDPError) -> SessionDescription {
        guard hasVersion else { throw .malformed(line: max(1, line), "a description begins with v=0") }
        endMedia()
        return description
    }

    private mutating func endMedia() {
        guard let section = current else { return }
        current = nil
        var media = section.media
        let session = sessionLevel.media
        media.iceUsernameFragment = media.iceUsernameFragment ?? session.iceUsernameFragment
        media.icePassword = media.icePassword ?? session.icePassword
        media.setup = media.setup ?? session.setup
        if media.fingerprints.isEmpty { media.fingerprints = session.fingerprints }
        if media.iceOptions.isEmpty { media.iceOptions = session.iceOptions }
        if !section.hasDirection { media.direction = session.direction }
        media.extensionMaps += session.extensionMaps
        media.codecs = section.codecs
        description.media.append(media)
    }

    private mutating func readMedia(_ value: String, number: Int) throws(SDPError) {
        endMedia()
        guard description.media.count < SessionDescription.mediaLimit else {
            throw .tooMany(line: number, "m-sections")
        }
        let fields = value.split(separator: " ")
        guard fields.count >= 4, let portField = fields[1].split(separator: "/").first, let port = UInt16(portField)
        else {
            throw .malformed(line: number, "m= needs a kind, a port, a transport and formats")
        }
        guard fields.count - 3 <= SessionDescription.attributeLimit else { throw .tooMany(line: number, "formats") }
        current = SDPSection(
            media: MediaDescription(
                kind: String(fields[0]),
                port: port,
                transport: String(fields[2]),
                formats: fields[3...].map(String.init)
            )
        )
    }

    private mutating func readAttribute(_ line: String, number: Int) throws(SDPError) {
        let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let value = parts.count > 1 ? String(parts[1]) : ""
        if current == nil {
            switch name {
            case "group":
                let fields = value.split(separator: " ").map(String.init)
                guard fields.first == "BUNDLE" else { break }
                guard description.bundleGroups.count < SessionDescription.groupLimit else {
                    throw .tooMany(line: number, "groups")
                }
                description.bundleGroups.append(Array(fields.dropFirst()))
            case "ice-lite": description.isICELite = true
            case "extmap-allow-mixed": description.allowsMixedExtensions = true
            default: try sessionLevel.read(name, value, number: number)
            }
        } else {
            try current?.read(name, value, number: number)
        }
    }
}

/// One m-section, or the session's part, while its lines are read.
private struct SDPSection {
    var media: MediaDescription
    var hasDirection = false
    private var maps: [UInt8: SDPCodec] = [:]
    /// `a=fmtp` and `a=rtcp-fb` by payload type: they may come before `a=rtpmap`, as Firefox writes them.
    private var formatParameters: [UInt8: String] = [:]
    private var feedback: [UInt8: [String]] = [:]
    private var feedbackOfAll: [String] = []

    init(media: MediaDescription) { self.media = media }

    /// The codecs in the order of preference that the m-line gives.
    var codecs: [SDPCodec] {
        var types: Set<UInt8> = []
        return media.formats.compactMap { format in
            guard let type = UInt8(format), types.insert(type).inserted, var codec = maps[type] ?? staticCodec(type)
            else { return nil }
            codec.fmtp = formatParameters[type]
            codec.feedback = (feedback[type] ?? []) + feedbackOfAll
            return codec
        }
    }

    /// Payload types that need no `a=rtpmap`. RFC 3551 §6
    private func staticCodec(_ type: UInt8) -> SDPCodec? {
        guard media.kind == "audio" else { return nil }
        switch type {
        case 0: return SDPCodec(payloadType: type, name: "PCMU", clockRate: 8_000)
        case 8: return SDPCodec(payloadType: type, name: "PCMA", clockRate: 8_000)
        default: return nil
        }
    }

    mutating func read(_ name: String, _ value: String, number: Int) throws(SDPError) {
        func check(_ count: Int, _ what: String) throws(SDPError) {
            guard count < SessionDescription.attributeLimit else { throw .tooMany(line: number, what) }
        }
        switch name {
        case "mid":
            guard !value.isEmpty, value.utf8.count <= 64, value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                throw .malformed(line: number, "a=mid")
            }
            media.mid = value
        case "sendrecv", "sendonly", "recvonly", "inactive":
            media.direction = SDPDirection(rawValue: name) ?? .sendrecv
            hasDirection = true
        case "ice-ufrag":
            guard (4...256).contains(value.utf8.count) else {
                throw .malformed(line: number, "a=ice-ufrag takes 4 to 256 characters")
            }
            media.iceUsernameFragment = value
        case "ice-pwd":
            guard (22...256).contains(value.utf8.count) else {
                throw .malformed(line: number, "a=ice-pwd takes 22 to 256 characters")
            }
            media.icePassword = value
        case "ice-options": media.iceOptions = value.split(separator: " ").map(String.init)
        case "fingerprint":
            try check(media.fingerprints.count, "fingerprints")
            media.fingerprints.append(value)
        case "setup":
            guard let setup = SDPSetup(rawValue: value) else {
                throw .malformed(line: number, "a=setup:\(value.prefix(16))")
            }
            media.setup = setup
        case "rtcp-mux": media.isRTCPMux = true
        case "rtcp-rsize": media.isRTCPReducedSize = true
        case "bundle-only": media.isBundleOnly = true
        case "rtpmap": try readCodec(value, number: number)
        case "fmtp", "rtcp-fb": readCodecParameter(name, value)
        case "extmap":
            try check(media.extensionMaps.count, "header extensions")
            try readExtension(value, number: number)
        case "ssrc":
            let fields = value.split(separator: " ", maxSplits: 1)
            guard fields.count == 2, let ssrc = UInt32(fields[0]) else { throw .malformed(line: number, "a=ssrc") }
            let cname = fields[1].hasPrefix("cname:") ? String(fields[1].dropFirst("cname:".count)) : nil
            if let index = media.sources.firstIndex(where: { $0.ssrc == ssrc }) {
                if let cname { media.sources[index].cname = cname }
            } else {
                try check(media.sources.count, "sources")
                media.sources.append((ssrc, cname ?? ""))
            }
        case "ssrc-group":
            let fields = value.split(separator: " ")
            guard let semantics = fields.first else { throw .malformed(line: number, "a=ssrc-group") }
            try check(media.sourceGroups.count, "source groups")
            media.sourceGroups.append(
                SDPSourceGroup(semantics: String(semantics), ssrcs: fields.dropFirst().compactMap { UInt32($0) })
            )
        case "msid":
            try check(media.msids.count, "streams")
            let fields = value.split(separator: " ").map(String.init)
            if let stream = fields.first { media.msids.append((stream, fields.count > 1 ? fields[1] : "")) }
        case "candidate":
            try check(media.candidates.count, "candidates")
            media.candidates.append("candidate:\(value)")
        case "end-of-candidates": media.hasEndOfCandidates = true
        case "sctp-port":
            guard let port = UInt16(value) else { throw .malformed(line: number, "a=sctp-port") }
            media.sctpPort = port
        case "max-message-size":
            guard let size = UInt64(value) else { throw .malformed(line: number, "a=max-message-size") }
            media.maxMessageSize = Int(clamping: size)
        default: break
        }
    }

    private mutating func readCodec(_ value: String, number: Int) throws(SDPError) {
        let fields = value.split(separator: " ", maxSplits: 1)
        guard fields.count == 2, let type = UInt8(fields[0]), type < 128 else {
            throw .malformed(line: number, "a=rtpmap")
        }
        let encoding = fields[1].split(separator: "/")
        guard encoding.count >= 2, let clockRate = Int(encoding[1]), (1...10_000_000).contains(clockRate) else {
            throw .malformed(line: number, "a=rtpmap needs a name and a clock rate")
        }
        let channels = encoding.count > 2 ? Int(encoding[2]) ?? 1 : 1
        guard (1...255).contains(channels) else { throw .malformed(line: number, "a=rtpmap channels") }
        maps[type] = SDPCodec(payloadType: type, name: String(encoding[0]), clockRate: clockRate, channels: channels)
    }

    private mutating func readCodecParameter(_ name: String, _ value: String) {
        let fields = value.split(separator: " ", maxSplits: 1)
        // Pion writes "nack " with a space at its end.
        guard fields.count == 2, let last = fields[1].lastIndex(where: { $0 != " " }) else { return }
        let parameter = String(fields[1][...last])
        if name == "rtcp-fb", fields[0] == "*" {
            if feedbackOfAll.count < Self.feedbackLimit { feedbackOfAll.append(parameter) }
        } else if let type = UInt8(fields[0]), type < 128 {
            if name == "fmtp" {
                formatParameters[type] = parameter
            } else {
                let known = feedback[type] ?? []
                guard known.count < Self.feedbackLimit, !known.contains(parameter) else { return }
                feedback[type] = known + [parameter]
            }
        }
    }

    private mutating func readExtension(_ value: String, number: Int) throws(SDPError) {
        let fields = value.split(separator: " ")
        guard fields.count >= 2 else { throw .malformed(line: number, "a=extmap") }
        let idAndDirection = fields[0].split(separator: "/")
        guard let idField = idAndDirection.first, let id = UInt16(idField), id >= 1 else {
            throw .malformed(line: number, "a=extmap")
        }
        guard id <= 255, id != 15 else { return }
        let direction = idAndDirection.count > 1 ? SDPDirection(rawValue: String(idAndDirection[1])) : nil
        media.extensionMaps.append(SDPExtensionMap(id: UInt8(id), uri: String(fields[1]), direction: direction))
    }

    /// Kinds of feedback of one payload type; more are dropped.
    private static let feedbackLimit = 32
}
