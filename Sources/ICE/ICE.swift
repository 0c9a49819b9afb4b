// ICE: one agent, one data stream, one component, trickling.
//
// What it does: candidates (host, server-reflexive, peer-reflexive; relayed ones of the peer), checklist, checks
// and nomination in both roles, role conflicts, early checks, consent freshness, restarts, statistics.
// What it leaves to others: sockets and interfaces (`PortID`s and addresses come in), DNS and mDNS (host names
// throw `ICEError.hostname`), SDP, and which datagrams are STUN (first byte 0...3, RFC 7983).
//
// Files: `ICEAgent` (commands, outputs), `+Receive`, `+Checks`, `+Nomination`, `+Consent`, `+Gathering`, `+Timers`;
// `ICEGeneration` is what a restart replaces; `ICECandidatePair`, `ICECandidate`. `TURN/` is the client of relays,
// which the agent does not use yet; `ICEServerURI` reads where servers are.
// RFC 8445, 8838 (trickle), 8839 (SDP grammar), 7675 (consent), 8421 (dual stack), 8863 (patience), 8656 (TURN)
