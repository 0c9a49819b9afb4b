// SCTP: reliable and partly reliable messages over DTLS, by usrsctp, and the data channels on top
// (RFC 9260, RFC 8261, RFC 3758, RFC 6525, RFC 8831, RFC 8832).
//
// usrsctp keeps its state in globals and is started without threads: its callbacks run only inside our own calls, all
// of which are made under one lock. An association is known to it by a number, never by a pointer.

internal import CUSRSCTP
internal import Glibc
internal import Locking
internal import SansIO

/// The process-wide usrsctp instance.
final class SCTPStack: Sendable {
    static let shared = SCTPStack()

    private struct State {
        var nextToken: UInt = 1
        var mailboxes: [UInt: SCTPMailbox] = [:]
        var lastTick: Instant?
        /// The association whose owner made the call that is under way.
        var caller: UInt = 0
    }

    private let lock = Mutex(())
    /// Guarded by `lock`; usrsctp's callbacks run only inside a locked call, so they may touch it too.
    nonisolated(unsafe) private static var state = State()

    /// Where messages are read to, inside a locked call; one for all associations.
    nonisolated(unsafe) static let readScratch = UnsafeMutableRawBufferPointer.allocate(
        byteCount: 64 << 10,
        alignment: 16
    )

    /// Packets for each SACK at first. RFC 9260 §6.2
    static let sackFrequency: UInt32 = 2
    /// Packets that may be under way before the first SACK. RFC 6928
    private static let initialWindow: UInt32 = 10
    /// Milliseconds, RTO.Max of a short path.
    static let longestTimeout: UInt32 = 1_000
    /// Milliseconds, RTO.Min of a short path.
    static let leastTimeout: UInt32 = 200
    /// usrsctp's own clock tick.
    static let tick = Duration.milliseconds(10)
    /// Bytes of a socket's send buffer: over 4 MB gains nothing on short paths, 256 KB costs a third.
    static let sendBufferByteCount = 2 << 20
    /// The same for long paths (``FlightLimit``), and of the receive buffer: 600 Mbit/s at 100 ms.
    static let longPathBufferByteCount = 8 << 20

    private init() {
        unsafe cusrsctp_usrsctp_init_nothreads { address, buffer, length, _, _ in
            guard let buffer = unsafe buffer, length >= 12,
                let mailbox = unsafe SCTPStack.state.mailboxes[UInt(bitPattern: address)]
            else { return -1 }
            // usrsctp frees the packet after we return and may hold the association's lock: copy, never call back in.
            unsafe mailbox.put(UnsafeMutableRawBufferPointer(start: buffer, count: length))
            if unsafe UInt(bitPattern: address) != SCTPStack.state.caller { mailbox.wakeUp?() }
            return 0
        }
        // DTLS has authenticated what comes in; what goes out gets its checksum above.
        usrsctp_enable_crc32c_offload()
        usrsctp_sysctl_set_sctp_ecn_enable(0)
        usrsctp_sysctl_set_sctp_asconf_enable(0)
        usrsctp_sysctl_set_sctp_auth_enable(0)
        usrsctp_sysctl_set_sctp_pr_enable(1)
        usrsctp_sysctl_set_sctp_nrsack_enable(0)
        // A limit of bursts holds packets back; usrsctp's own way would cut the congestion window down to the limit each
        // time the flight is small, and so a path of 100 ms to a twentieth of its rate.
        usrsctp_sysctl_set_sctp_use_cwnd_based_maxburst(0)
        // In fast recovery usrsctp marks all that is missing again with each third SACK: unlimited, it sends the same
        // packets dozens of times, and gives the association up.
        usrsctp_sysctl_set_sctp_fr_max_burst_default(4)
        usrsctp_sysctl_set_sctp_max_retran_chunk(0)
        usrsctp_sysctl_set_sctp_sack_freq_default(Self.sackFrequency)
        usrsctp_sysctl_set_sctp_delayed_sack_time_default(20)
        usrsctp_sysctl_set_sctp_initial_cwnd(Self.initialWindow)
        usrsctp_sysctl_set_sctp_rto_initial_default(500)
        usrsctp_sysctl_set_sctp_rto_min_default(Self.leastTimeout)
        // Not the 60 s of RFC 9260 §16: a path that comes back is to be used at once, and until then a packet a second
        // costs nothing.
        usrsctp_sysctl_set_sctp_rto_max_default(Self.longestTimeout)
        usrsctp_sysctl_set_sctp_init_rto_max_default(5_000)
        usrsctp_sysctl_set_sctp_init_rtx_max_default(12)
        // Liveness is ICE's affair: an association outlives a path that is gone for two minutes.
        usrsctp_sysctl_set_sctp_assoc_rtx_max_default(120)
        usrsctp_sysctl_set_sctp_path_rtx_max_default(120)
        // Of 512 chunks, its default, a long path would hold no more than 700 kB. Each of a byte takes 500.
        usrsctp_sysctl_set_sctp_max_chunks_on_queue(16_384)
        usrsctp_sysctl_set_sctp_sendspace(UInt32(Self.sendBufferByteCount))
        usrsctp_sysctl_set_sctp_recvspace(UInt32(Self.longPathBufferByteCount))
    }

    /// Runs `body` with the right to call usrsctp, on behalf of the association `token`.
    func withLock<Result>(for token: UInt, _ body: () -> Result) -> Result {
        lock.withLock { _ in
            unsafe Self.state.caller = token
            return body()
        }
    }

    /// A new number and its mailbox.
    func register(_ mailbox: SCTPMailbox) -> UInt {
        lock.withLock { _ in
            let token = unsafe Self.state.nextToken
            unsafe Self.state.nextToken += 1
            unsafe Self.state.mailboxes[token] = mailbox
            unsafe usrsctp_register_address(UnsafeMutableRawPointer(bitPattern: token))
            return token
        }
    }

    func unregister(_ token: UInt) {
        lock.withLock { _ in
            unsafe usrsctp_deregister_address(UnsafeMutableRawPointer(bitPattern: token))
            unsafe Self.state.mailboxes[token] = nil
        }
    }

    /// Marks the association readable.
    ///
    /// Called by usrsctp inside a locked call.
    static func setReadable(_ token: UInt) {
        unsafe state.mailboxes[token]?.isReadable = true
        if unsafe token != state.caller { unsafe state.mailboxes[token]?.wakeUp?() }
    }

    /// Runs `body`, inside a locked call, with another initial congestion window; nil for the usual one.
    static func withInitialWindow(packets: Int?, _ body: () -> Void) {
        usrsctp_sysctl_set_sctp_initial_cwnd(packets.map { UInt32($0) } ?? initialWindow)
        body()
        usrsctp_sysctl_set_sctp_initial_cwnd(initialWindow)
    }

    /// Advances usrsctp's timers, of all associations, to `now`.
    func advance(to now: Instant, for token: UInt) {
        withLock(for: token) {
            // A jump of a day is another clock: nothing is due by it.
            guard let last = unsafe Self.state.lastTick, now >= last, now - last < .seconds(86_400) else {
                unsafe Self.state.lastTick = now
                return
            }
            let elapsed = (now - last).wholeMilliseconds
            guard elapsed >= 10 else { return }
            unsafe Self.state.lastTick = last + .milliseconds(elapsed)
            usrsctp_handle_timers(UInt32(clamping: min(elapsed, 60_000)))
        }
    }

    /// Associations that were made and not freed.
    var associationCount: Int { lock.withLock { _ in unsafe Self.state.mailboxes.count } }

    /// Forgets the time; for tests that make their own.
    func resetClock() { lock.withLock { _ in unsafe Self.state.lastTick = nil } }
}
