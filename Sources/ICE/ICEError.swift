/// Why a candidate line is not a candidate.
package enum ICEError: Error, Hashable, Sendable {
    /// The line lacks a field, a field is out of range or it is too long.
    case malformed(field: ICECandidateField)
    /// A host name stands where the address should, as `….local` of mDNS: resolve it and try again.
    case hostname(String)
}

/// A field of a candidate line.
///
/// RFC 8839 §5.1
package enum ICECandidateField: Hashable, Sendable {
    case line, foundation, component, transport, priority, address, port, kind, relatedAddress
}
