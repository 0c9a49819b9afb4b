// STUN: messages of RFC 8489, read in place and written into arrays.
//
// What it does: header, attributes with bounds, XOR-ed addresses, ERROR-CODE, MESSAGE-INTEGRITY (HMAC-SHA1,
// short-term and long-term keys), FINGERPRINT (CRC-32), transaction identifiers, the retransmission schedule, the
// cutting of streams into messages, and how a NAT maps and filters (`NATDiscovery`, RFC 5780).
// What it leaves to others: which messages mean what (ICE, TURN), sockets, time. MESSAGE-INTEGRITY-SHA256 and
// USERHASH are recognised and passed over: ICE and TURN agents in the field use SHA-1.
//
// RFC 8489, RFC 5769 (vectors), RFC 8445 §16 (ICE's attributes), RFC 8656 §18 (TURN's attributes)
