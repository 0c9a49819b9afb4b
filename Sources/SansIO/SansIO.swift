// SansIO: the shared vocabulary of the protocol modules.
//
// A protocol here is a plain value or a class confined to one event loop. Bytes, time and random bits go in;
// datagrams, events and a deadline come out. Nothing in these modules opens a socket, reads a clock, starts a
// thread or draws randomness by itself, so each protocol runs in a virtual network, in virtual time, from a seed.
//
// Every machine has the same kinds of member: inputs (`receive(_:…at:)`, `handleTimeout(at:)`), commands, and
// outputs (`nextEvent()`, `nextDeadline`; datagrams go into the engine's `TransmitQueue`). Outputs queue and
// nothing calls out; the owner may give any number of inputs before it drains.
