internal import CALSA
internal import Glibc
internal import Media

/// An open ALSA device in 16-bit interleaved PCM.
///
/// Never blocks. Belongs to one thread at a time.
@safe final class PCMDevice {
    let name: String
    let direction: SoundDevice.Direction
    /// Samples a second and channel: what the card does, if it does not do 48 000.
    private(set) var sampleRate = 0
    /// Channels, from 1 to 32.
    private(set) var channelCount = 0
    /// Samples in each channel between two interrupts.
    private(set) var periodSamples = 0
    /// Samples in each channel that the device holds.
    private(set) var bufferSamples = 0

    private let pcm: OpaquePointer  // snd_pcm_t *

    /// Opens and configures a device.
    ///
    /// - Parameters:
    ///   - name: ALSA's name of it.
    ///   - direction: microphone or loudspeaker.
    ///   - channelCount: wanted; the nearest that the device has is taken.
    ///   - bufferMilliseconds: wanted; the nearest that the device has is taken. Periods are 10 ms likewise.
    /// - Throws: `MediaError`: `.notFound`, `.busy`, `.notPermitted`, `.notUsable`.
    init(
        name: String,
        direction: SoundDevice.Direction,
        channelCount: Int,
        bufferMilliseconds: Int
    ) throws(MediaError) {
        guard !name.isEmpty, name.utf8.count <= 256, !name.utf8.contains(0) else {
            throw MediaError(.invalidArgument, direction.noun, "an ALSA name has 1 to 256 bytes and no zero byte")
        }
        let before = unsafe calsa_silence_thread()
        defer { unsafe calsa_restore_thread(before) }
        var opened: OpaquePointer?
        let stream = direction == .capture ? SND_PCM_STREAM_CAPTURE : SND_PCM_STREAM_PLAYBACK
        let status = unsafe snd_pcm_open(&opened, name, stream, SND_PCM_NONBLOCK)
        guard status == 0, let pcm = unsafe opened else { throw Self.error(status, name, direction, "cannot open it") }
        unsafe self.pcm = pcm
        self.name = name
        self.direction = direction
        // `deinit` closes from here on, also if this throws.
        try configure(channelCount: channelCount, bufferMilliseconds: bufferMilliseconds)
    }

    deinit { unsafe snd_pcm_close(pcm) }

    private func configure(channelCount wanted: Int, bufferMilliseconds: Int) throws(MediaError) {
        var allocated: OpaquePointer?  // snd_pcm_hw_params_t *
        guard unsafe snd_pcm_hw_params_malloc(&allocated) == 0, let parameters = unsafe allocated else {
            throw MediaError(.notUsable, name, "no memory")
        }
        defer { unsafe snd_pcm_hw_params_free(parameters) }
        try check(unsafe snd_pcm_hw_params_any(pcm, parameters), "has no configuration")
        // ALSA's own conversion of rates is not exact; ours follows where one is needed.
        _ = unsafe snd_pcm_hw_params_set_rate_resample(pcm, parameters, 0)
        try check(
            unsafe snd_pcm_hw_params_set_access(pcm, parameters, SND_PCM_ACCESS_RW_INTERLEAVED),
            "cannot be read and written in blocks; try plug\(name)"
        )
        try check(
            unsafe snd_pcm_hw_params_set_format(pcm, parameters, SND_PCM_FORMAT_S16),
            "has no 16-bit samples; try plug\(name)"
        )
        var channels = UInt32(wanted)
        try check(unsafe snd_pcm_hw_params_set_channels_near(pcm, parameters, &channels), "has no number of channels")
        var rate: UInt32 = 48_000
        try check(unsafe snd_pcm_hw_params_set_rate_near(pcm, parameters, &rate, nil), "has no sample rate")
        guard (1...32).contains(channels), (8_000...192_000).contains(rate) else {
            throw MediaError(
                .notUsable,
                name,
                "has \(channels) channels at \(rate) Hz: 1 to 32 at 8 to 192 kHz can be used"
            )
        }
        var period = snd_pcm_uframes_t(rate / 100)
        try check(
            unsafe snd_pcm_hw_params_set_period_size_near(pcm, parameters, &period, nil),
            "has no period near 10 ms"
        )
        var buffer = snd_pcm_uframes_t(Int(rate) * bufferMilliseconds / 1_000)
        try check(
            unsafe snd_pcm_hw_params_set_buffer_size_near(pcm, parameters, &buffer),
            "has no buffer near \(bufferMilliseconds) ms"
        )
        try check(unsafe snd_pcm_hw_params(pcm, parameters), "cannot be set up")
        guard (1...Self.sampleLimit).contains(Int(clamping: period)),
            (2...Self.sampleLimit).contains(Int(clamping: buffer))
        else { throw MediaError(.notUsable, name, "has periods of \(period) and a buffer of \(buffer) samples") }
        sampleRate = Int(rate)
        channelCount = Int(channels)
        periodSamples = Int(period)
        bufferSamples = Int(buffer)
    }

    /// The longest buffer: about 20 s.
    private static let sampleLimit = 1 << 20

    /// Sets when the device wakes the one who polls it.
    ///
    /// It starts when it is told to.
    ///
    /// - Parameter wakeSamples: samples that can be read or written then.
    /// - Throws: `MediaError.notUsable`.
    func setWake(_ wakeSamples: Int) throws(MediaError) {
        var allocated: OpaquePointer?  // snd_pcm_sw_params_t *
        guard unsafe snd_pcm_sw_params_malloc(&allocated) == 0, let parameters = unsafe allocated else {
            throw MediaError(.notUsable, name, "no memory")
        }
        defer { unsafe snd_pcm_sw_params_free(parameters) }
        try check(unsafe snd_pcm_sw_params_current(pcm, parameters), "has no settings")
        try check(
            unsafe snd_pcm_sw_params_set_avail_min(
                pcm,
                parameters,
                snd_pcm_uframes_t(max(1, min(wakeSamples, bufferSamples)))
            ),
            "cannot be polled"
        )
        try check(unsafe snd_pcm_sw_params(pcm, parameters), "cannot be set up")
    }

    /// Starts the device's clock.
    func start() throws(MediaError) {
        let status = unsafe snd_pcm_start(pcm)
        // It may have started by itself.
        let isRunning = unsafe snd_pcm_state(pcm) == SND_PCM_STATE_RUNNING
        if !isRunning { try check(status, "does not start") }
    }

    /// Waits until the device or the thread's stop descriptor is ready.
    ///
    /// - Returns: whether the device can be read or written, or has something to complain of.
    func wait(_ thread: DeviceThread, milliseconds: Int) -> Bool {
        var entries = [pollfd(fd: thread.stopDescriptor, events: Int16(POLLIN), revents: 0)]
        let count = unsafe snd_pcm_poll_descriptors_count(pcm)
        guard (0...Self.descriptorLimit).contains(count) else {
            thread.pause(milliseconds: 5)
            return true
        }
        entries += Array(repeating: pollfd(), count: Int(count))
        return unsafe entries.withUnsafeMutableBufferPointer { entries in
            guard let base = entries.baseAddress else { return false }
            let filled = unsafe snd_pcm_poll_descriptors(pcm, base + 1, UInt32(count))
            let used = min(max(0, filled), count)
            let ready = unsafe poll(base, nfds_t(1 + used), CInt(milliseconds))
            guard ready > 0, used > 0 else { return false }
            // A plug-in's descriptors need not mean what they say.
            var events: UInt16 = 0
            guard unsafe snd_pcm_poll_descriptors_revents(pcm, base + 1, UInt32(used), &events) == 0 else {
                return true
            }
            return events != 0
        }
    }

    private static let descriptorLimit: CInt = 64

    /// Samples in each channel that can be read or written at once, or a negative errno.
    func available() -> Int { unsafe Int(snd_pcm_avail_update(pcm)) }

    /// Samples in each channel between what is written now and what is heard now, as far as the device tells; of a
    /// microphone, between what is read and what is said.
    ///
    /// At most half a second: a device that says more is wrong.
    func delay() -> Int {
        var samples: snd_pcm_sframes_t = 0
        guard unsafe snd_pcm_delay(pcm, &samples) == 0 else { return 0 }
        return min(max(0, Int(samples)), sampleRate / 2)
    }

    /// Reads interleaved samples.
    ///
    /// - Returns: samples in each channel, or a negative errno; `-EAGAIN` if there are none.
    func read(into samples: inout [Int16], limit: Int) -> Int {
        let count = min(limit, samples.count / channelCount)
        return unsafe samples.withUnsafeMutableBufferPointer { samples in
            unsafe Int(snd_pcm_readi(pcm, samples.baseAddress, snd_pcm_uframes_t(count)))
        }
    }

    /// Writes interleaved samples.
    ///
    /// - Returns: samples in each channel that were taken, or a negative errno.
    func write(_ samples: [Int16], from offset: Int, count: Int) -> Int {
        guard offset >= 0, count >= 0, (offset + count) * channelCount <= samples.count else { return -Int(EINVAL) }
        return unsafe samples.withUnsafeBufferPointer { samples in
            guard let base = samples.baseAddress else { return 0 }
            return unsafe Int(snd_pcm_writei(pcm, base + offset * channelCount, snd_pcm_uframes_t(count)))
        }
    }

    /// Makes sure that the device is still there.
    ///
    /// - Throws: `MediaError.unplugged`.
    func checkPresence() throws(MediaError) {
        if unsafe snd_pcm_state(pcm) == SND_PCM_STATE_DISCONNECTED { throw error(-ENODEV, "") }
    }

    /// What became of a device that had said no.
    enum Recovery {
        /// Nothing was wrong.
        case none
        /// Samples were lost; the device must be started again.
        case prepared
    }

    /// Brings the device back after an underrun, overrun or the machine's sleep.
    ///
    /// - Throws: `MediaError`: `.unplugged` if it is gone, else `.notUsable`.
    func recover(_ status: Int, on thread: DeviceThread) throws(MediaError) -> Recovery {
        let code = CInt(clamping: status)
        switch -code {
        case EAGAIN, EINTR: return .none
        case ESTRPIPE:
            // After sleep the driver may need time; some cannot go on and must be prepared.
            for _ in 0..<50 where !thread.isStopped {
                let resumed = unsafe snd_pcm_resume(pcm)
                if resumed != -EAGAIN { break }
                thread.pause(milliseconds: 100)
            }
            try check(unsafe snd_pcm_prepare(pcm), "does not wake up")
            return .prepared
        case EPIPE, EIO:
            try checkPresence()
            _ = unsafe snd_pcm_drop(pcm)
            try check(unsafe snd_pcm_prepare(pcm), "cannot be started again")
            return .prepared
        case EBADFD:
            try checkPresence()
            throw error(code, "is in a wrong state")
        default: throw error(code, direction == .capture ? "cannot be read" : "cannot be written")
        }
    }

    private func check(_ status: CInt, _ what: String) throws(MediaError) {
        if status < 0 { throw error(status, what) }
    }

    private func error(_ status: CInt, _ what: String) -> MediaError { Self.error(status, name, direction, what) }

    /// A negative errno as an error that says what to do.
    static func error(
        _ status: CInt,
        _ name: String,
        _ direction: SoundDevice.Direction,
        _ what: String
    ) -> MediaError {
        let reason = unsafe snd_strerror(status).map { unsafe String(cString: $0) } ?? "error \(-status)"
        let noun = direction.noun
        switch -status {
        case ENOENT, ENXIO:
            return MediaError(
                .notFound,
                name,
                "ALSA knows no such \(noun) (\(reason)); `rtc-peer devices` lists what there is"
            )
        case ENODEV: return MediaError(.unplugged, name, "the \(noun) is gone (\(reason)): plug it in again")
        case EACCES, EPERM:
            return MediaError(
                .notPermitted,
                name,
                "this user may not use the \(noun) (\(reason)): add the user to the group audio, as with "
                    + "`sudo usermod -aG audio $USER`, and log in again"
            )
        case EBUSY:
            return MediaError(
                .busy,
                name,
                "another program is using the \(noun) (\(reason)): close it (`fuser -v /dev/snd/*` names it), or use a device that is "
                    + "shared, as default"
            )
        case ECONNREFUSED, EHOSTDOWN:
            return MediaError(
                .notUsable,
                name,
                "the sound server behind the \(noun) does not answer (\(reason)): see whether PulseAudio or PipeWire runs for this "
                    + "user, as by `pactl info`, and start it, as by `systemctl --user start pipewire-pulse` or `pulseaudio --start`"
            )
        default: return MediaError(.notUsable, name, "the \(noun) \(what): \(reason)")
        }
    }
}

extension SoundDevice.Direction {
    /// `microphone` or `loudspeaker`.
    var noun: String { self == .capture ? "microphone" : "loudspeaker" }
}
