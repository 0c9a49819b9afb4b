// SRTP: protects and unprotects RTP and RTCP packets, one `SRTPSession` for each direction of a transport.
//
// RFC 3711 (the framework, AES-CM with HMAC-SHA1) and RFC 7714 (AES-GCM), both by libsrtp2. Keys come from the
// DTLS handshake (RFC 5764) and are the DTLS module's business; what the packets mean is the RTP module's.
// Packets change in place: no copy and, once a stream is known, no allocation by this module.
