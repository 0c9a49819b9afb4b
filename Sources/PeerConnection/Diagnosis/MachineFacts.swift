internal import CLinux
internal import Glibc

/// What of the machine matters to its connections.
package struct MachineFacts: Hashable, Sendable {
    /// What kind of container this runs in; nil if in none.
    package var container: String?
    /// Whether something keeps the clock right, by which certificates are valid; nil if nobody knows.
    package var isClockKept: Bool?
    /// Seconds since 1970.
    package var secondsSince1970: Int

    package init(container: String?, isClockKept: Bool?, secondsSince1970: Int) {
        self.container = container
        self.isClockKept = isClockKept
        self.secondsSince1970 = secondsSince1970
    }

    /// Those of the present.
    package static func now() -> MachineFacts {
        var wall = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &wall)
        let state = clinux_clock_is_kept()
        return MachineFacts(
            container: container(),
            isClockKept: state < 0 ? nil : state == 1,
            secondsSince1970: wall.tv_sec
        )
    }

    /// What container programs leave for what runs in them: files, a variable, the names of control groups.
    private static func container() -> String? {
        if unsafe access("/.dockerenv", F_OK) == 0 { return "docker" }
        if unsafe access("/run/.containerenv", F_OK) == 0 { return "podman" }
        if unsafe getenv("KUBERNETES_SERVICE_HOST") != nil { return "kubernetes" }
        if let name = unsafe getenv("container") {
            let text = unsafe String(cString: name)
            if !text.isEmpty { return text }
        }
        guard let file = unsafe fopen("/proc/1/cgroup", "re") else { return nil }
        defer { unsafe fclose(file) }
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 4_096) { buffer, count in
            count = unsafe fread(buffer.baseAddress, 1, 4_096, file)
        }
        return container(ofControlGroups: String(decoding: bytes, as: UTF8.self))
    }

    /// The container program whose mark is in the text of `/proc/1/cgroup`.
    package static func container(ofControlGroups text: String) -> String? {
        ["docker", "kubepods", "lxc", "libpod", "containerd"].first { text.contains($0) }
    }
}
