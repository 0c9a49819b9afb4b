// Files over one reliable, ordered channel of messages, without losing a byte: docs/FILE-TRANSFER.md is the protocol.
//
// Protocol/  what is on the wire, and a machine for each side that lets only through what fits; no disk, no channel
// Disk/      what each side does with files, as an actor on a thread of its own: reading, hashing, writing, syncing
// FileSender, FileReceiver: two tasks each, one that reads the channel and one that waits for disk and channel
//
// Nothing here knows of terminals or signalling. Memory is bounded whatever is sent: the sender reads one batch ahead,
// the receiver holds a queue of a few mebibytes and lets the channel slow the sender down.
