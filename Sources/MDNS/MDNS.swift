// MDNS: names of the local link (RFC 6762), as far as ICE needs them.
//
// What it does: messages of DNS with A and AAAA records (and NSEC, written only), a resolver that asks for the
// addresses of names, and a responder that answers for names of this process. Bytes and time go in, datagrams, events
// and deadlines come out.
// What it leaves to others: sockets, groups and interfaces (a `PortID` each), whether a sender is on the local link
// (`LocalLinks` answers it), services (DNS-SD), caches: a candidate's name is asked for once.
//
// Not here, by intent: probing and conflicts (RFC 6762 §8.1, §9). Browsers and this stack publish names made of 122
// random bits (draft-ietf-mmusic-mdns-ice-candidates §3.1.1), which nobody else has.
//
// RFC 6762 (mDNS), RFC 1035 (messages), RFC 4034 §4 (NSEC), draft-ietf-mmusic-mdns-ice-candidates
