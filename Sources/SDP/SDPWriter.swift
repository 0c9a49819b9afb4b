extension SessionDescription {
    /// The description as text, lines ended by CR LF.
    package var text: String {
        var lines = [
            "v=0", "o=- \(sessionID) \(sessionVersion) IN IP4 127.0.0.1", "s=-", "t=0 0",
        ]
        for group in bundleGroups { lines.append("a=group:BUNDLE" + group.map { " \($0)" }.joined()) }
        if isICELite { lines.append("a=ice-lite") }
        if allowsMixedExtensions { lines.append("a=extmap-allow-mixed") }
        lines.append("a=msid-semantic: WMS *")
        return lines.map { $0 + "\r\n" }.joined() + media.map(\.text).joined()
    }
}

extension MediaDescription {
    /// The m-section as text, lines ended by CR LF.
    package var text: String {
        var lines = ["m=\(kind) \(port) \(transport)" + formats.map { " \($0)" }.joined(), "c=IN IP4 0.0.0.0"]
        if let mid { lines.append("a=mid:\(mid)") }
        if let iceUsernameFragment { lines.append("a=ice-ufrag:\(iceUsernameFragment)") }
        if let icePassword { lines.append("a=ice-pwd:\(icePassword)") }
        if !iceOptions.isEmpty { lines.append("a=ice-options:" + iceOptions.joined(separator: " ")) }
        for fingerprint in fingerprints { lines.append("a=fingerprint:\(fingerprint)") }
        if let setup { lines.append("a=setup:\(setup.rawValue)") }
        if isBundleOnly { lines.append("a=bundle-only") }
        if kind == "application" {
            if let sctpPort { lines.append("a=sctp-port:\(sctpPort)") }
            if let maxMessageSize { lines.append("a=max-message-size:\(maxMessageSize)") }
        } else {
            addMediaLines(to: &lines)
        }
        for candidate in candidates { lines.append("a=\(candidate)") }
        if hasEndOfCandidates { lines.append("a=end-of-candidates") }
        return lines.map { $0 + "\r\n" }.joined()
    }

    private func addMediaLines(to lines: inout [String]) {
        for map in extensionMaps {
            lines.append("a=extmap:\(map.id)\(map.direction.map { "/\($0.rawValue)" } ?? "") \(map.uri)")
        }
        lines.append("a=\(direction.rawValue)")
        for msid in msids { lines.append("a=msid:\(msid.stream)\(msid.track.isEmpty ? "" : " \(msid.track)")") }
        if isRTCPMux { lines.append("a=rtcp-mux") }
        if isRTCPReducedSize { lines.append("a=rtcp-rsize") }
        for codec in codecs {
            lines.append(
                "a=rtpmap:\(codec.payloadType) \(codec.name)/\(codec.clockRate)\(codec.channels > 1 ? "/\(codec.channels)" : "")"
            )
            for feedback in codec.feedback { lines.append("a=rtcp-fb:\(codec.payloadType) \(feedback)") }
            if let fmtp = codec.fmtp { lines.append("a=fmtp:\(codec.payloadType) \(fmtp)") }
        }
        for group in sourceGroups {
            lines.append("a=ssrc-group:\(group.semantics)" + group.ssrcs.map { " \($0)" }.joined())
        }
        for source in sources { lines.append("a=ssrc:\(source.ssrc) cname:\(source.cname)") }
    }
}
