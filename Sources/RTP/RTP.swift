// RTP: packets, control packets, payload formats, and the per-stream machines that send and receive them.
//
// Packet/   header and header extensions over borrowed bytes (RFC 3550, 8285)
// RTCP/     reports and feedback, parsed from hostile bytes and written (RFC 3550, 4585, 5104, 5506, 3611)
// Payload/  how frames become payloads: VP8 (RFC 7741), Opus (RFC 7587), PCMU and PCMA (RFC 3551)
// Send/     one stream out: packets written once into pool slots which stay as the resend cache (RFC 4588)
// Receive/  streams in: routing (RFC 8843), reordering, NACK, frame assembly, reception statistics
//
// Left to others: encryption (SRTP), pacing and rate (CongestionControl), the composition (PeerEngine).
