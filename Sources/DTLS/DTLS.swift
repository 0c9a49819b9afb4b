// DTLS: authenticates the peer, keys SRTP and carries the data channels' packets.
//
// DTLS 1.2 (RFC 6347) with the SRTP extension (RFC 5764), the peer being known by its certificate's fingerprint
// alone (RFC 8122, RFC 8827 §6.5). The protocol is OpenSSL's; this module owns certificates, gives OpenSSL a BIO
// that reads one received datagram and writes datagrams into the engine's `TransmitQueue`, and holds back
// everything until the fingerprint is verified. SRTP itself, SCTP, and who is client (`a=setup`) are others'.
// OpenSSL draws its own randomness, and reads `gettimeofday` for retransmissions; tests replace that function.
