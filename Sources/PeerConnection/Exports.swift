// PeerConnection: the browser's RTCPeerConnection for Swift programs on Linux.
//
// API/ has one file for each W3C interface; Driver/ joins the protocol engine to sockets, names and timers (NIO);
// Pipelines/ lead tracks through codecs to the engine and back; Support/ has the mailboxes between threads.

@_exported public import Capture
@_exported public import Media
