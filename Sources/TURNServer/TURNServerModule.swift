// TURNServer: the server's side of STUN and TURN.
//
// What it does: Binding; allocations with long-term credentials that expire (coturn's REST mode), Refresh, permissions,
// channels, Send and Data indications, ChannelData over UDP and streams; which peers may be relayed to; quotas and limits
// on whatever a client, or somebody who only pretends to be one, can make it hold or send.
// What it leaves to others: sockets, TLS, clocks, names (`TURNService`). Not there: TCP allocations (RFC 6062), mobility,
// a second address family in one allocation, reservations of ports, DONT-FRAGMENT; each is refused as the RFC says.
//
// RFC 8489 (STUN), RFC 8656 (TURN), draft-uberti-behave-turn-rest-00 (credentials)
