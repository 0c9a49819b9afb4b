// For `pollfd`, which ALSA's header brings in: the compiler takes it for ALSA's.
internal import CALSA
internal import CLinux
internal import Glibc
package import Media

/// Tells when cameras and sound cards may have come or gone, until it is released.
///
/// Two witnesses, of which one is enough: the kernel's messages on devices (netlink), which containers with a network of
/// their own do not get, and the folders of device nodes (inotify), which also show that permissions have changed.
/// Nothing is polled.
package final class DeviceMonitor: Sendable {
    private let thread: DeviceThread

    /// After a change devices are quiet for so long before it is told: a camera has several nodes.
    private static let quiet = 150
    /// A change is told after so long, however restless the devices are, in milliseconds.
    private static let patience = 1_000

    /// Watches.
    ///
    /// - Parameters:
    ///   - folders: of device nodes; those that are not there yet are watched once they are.
    ///   - onChange: called on the monitor's thread.
    /// - Throws: `MediaError.notUsable` if the system has no descriptors or threads left.
    package init(
        folders: [String] = ["/dev", "/dev/snd"],
        onChange: @escaping @Sendable () -> Void
    ) throws(MediaError) {
        thread = try DeviceThread(subject: "devices")
        let witnesses = Witnesses(folders: folders)
        guard witnesses.isUsable else {
            throw MediaError(.notUsable, "devices", "this system does not tell which devices come and go")
        }
        let handover = Handover(witnesses)
        let thread = thread
        try thread.run(name: "device monitor", subject: "devices") {
            guard let witnesses = handover.take() else { return }
            Self.watch(witnesses, on: thread, onChange)
        }
    }

    deinit { thread.stop() }

    private static func watch(_ witnesses: Witnesses, on thread: DeviceThread, _ onChange: () -> Void) {
        // When a change must be told: soon after the last sign of it, and not long after the first.
        var due: (soon: Int64, atLast: Int64)?
        while !thread.isStopped {
            let now = ScheduledThread.now()
            var wait: CInt = -1
            if let times = due {
                let left = min(times.soon, times.atLast) - now
                if left <= 0 {
                    due = nil
                    thread.deliver(onChange)
                    continue
                }
                wait = CInt(clamping: (left + 999_999) / 1_000_000)
            }
            var entries = [pollfd(fd: thread.stopDescriptor, events: Int16(POLLIN), revents: 0)]
            for descriptor in witnesses.descriptors {
                entries.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
            }
            let ready = unsafe poll(&entries, nfds_t(entries.count), wait)
            if thread.isStopped { return }
            guard ready > 0, witnesses.read() else { continue }
            let seen = ScheduledThread.now()
            due = (seen + Int64(quiet) * 1_000_000, due?.atLast ?? seen + Int64(patience) * 1_000_000)
        }
    }

    /// The sockets that tell of devices; belongs to the monitor's thread.
    private final class Witnesses {
        private let folders: [String]
        private let uevents: CInt
        private let inotify: CInt
        private var buffer = [UInt8](repeating: 0, count: 16_384)

        init(folders: [String]) {
            self.folders = folders
            uevents = clinux_open_uevents()
            inotify = clinux_inotify()
            watchFolders()
        }

        deinit {
            if uevents >= 0 { close(uevents) }
            if inotify >= 0 { close(inotify) }
        }

        var isUsable: Bool { uevents >= 0 || inotify >= 0 }
        var descriptors: [CInt] { [uevents, inotify].filter { $0 >= 0 } }

        /// A folder that is watched already stays so; one that was made anew is watched again.
        private func watchFolders() {
            guard inotify >= 0 else { return }
            for folder in folders { _ = unsafe clinux_watch_folder(inotify, folder) }
        }

        /// Reads all there is.
        ///
        /// - Returns: whether something may have come or gone.
        func read() -> Bool {
            let (hasSpoken, hasChanged) = (readMessages(), readFolders())
            if hasChanged { watchFolders() }
            return hasSpoken || hasChanged
        }

        private func readMessages() -> Bool {
            guard uevents >= 0 else { return false }
            var isRelevant = false
            for _ in 0..<DeviceMonitor.messageLimit {
                let count = unsafe recv(uevents, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                // Too many messages at once: some are lost.
                if count < 0, errno == ENOBUFS { isRelevant = true }
                guard count > 0 else { break }
                if DeviceMonitor.isRelevant(message: buffer[..<count]) { isRelevant = true }
            }
            return isRelevant
        }

        private func readFolders() -> Bool {
            guard inotify >= 0 else { return false }
            var isRelevant = false
            for _ in 0..<DeviceMonitor.messageLimit {
                let count = unsafe Glibc.read(inotify, &buffer, buffer.count)
                guard count > 0 else { break }
                if DeviceMonitor.isRelevant(names: buffer[..<count]) { isRelevant = true }
            }
            return isRelevant
        }
    }

    private static let messageLimit = 256

    /// Whether the kernel speaks of a camera or a sound device: `ACTION@PATH`, then `KEY=VALUE`, each ended by zero.
    static func isRelevant(message: ArraySlice<UInt8>) -> Bool {
        message.split(separator: 0).contains { field in
            let text = String(decoding: field, as: UTF8.self)
            return text == "SUBSYSTEM=video4linux" || text == "SUBSYSTEM=sound"
        }
    }

    /// Whether one of the names of inotify's records is that of a camera or of something of a sound card.
    ///
    /// inotify(7): `int wd; uint32_t mask, cookie, len; char name[len]`
    static func isRelevant(names records: ArraySlice<UInt8>) -> Bool {
        var rest = records
        while rest.count >= 16 {
            let length = rest.dropFirst(12).prefix(4).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
            guard length <= rest.count - 16 else { return true }
            let name = String(decoding: rest.dropFirst(16).prefix(length).prefix { $0 != 0 }, as: UTF8.self)
            // Without a name the folder itself has changed.
            if name.isEmpty || name == "snd" { return true }
            if ["video", "pcm", "control"].contains(where: name.hasPrefix) { return true }
            rest = rest.dropFirst(16 + length)
        }
        return false
    }
}
