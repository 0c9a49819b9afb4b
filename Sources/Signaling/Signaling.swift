// Signalling: how two peers find each other and exchange offers, answers and candidates before a connection exists.
//
// `SignalingServer` serves a web page, JSON messages over a WebSocket, and rooms in which peers meet; `SignalingClient`
// joins a room of such a server. The messages are described in docs/SIGNALING.md.
//
// `RoomTable` holds all rules of the server (rooms, places, limits, heartbeats, resuming) and does no input or output:
// messages and time in, actions out. `Server/` and `Client/` put it and the client's twin on SwiftNIO.
//
// `SignalingRoads` numbers what the two ends of a connection say, so that it may go through the server and along a data
// channel of the connection itself: bytes and time in, messages out; whoever owns the channel drives it.
//
// The module knows nothing of peer connections: session descriptions and candidates pass through it as text.
//
// RFC 6455 (WebSocket), RFC 8259 (JSON), RFC 8840 (trickled candidates), webrtc-pc §10 (perfect negotiation)
