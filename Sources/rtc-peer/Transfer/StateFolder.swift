import Glibc
import PAKE

/// Keeps the folder of memories and locks small: nobody goes on with what was left a month ago.
enum StateFolder {
    /// How long what nobody holds stays.
    static let keptSeconds = 30 * 24 * 3600

    /// Removes memories, halves of them, and locks that are older than that and that no process holds.
    ///
    /// What is not named as those are stays, whatever its age.
    ///
    /// - Parameter now: seconds since 1970.
    static func prune(now: Int = time(nil)) {
        guard let directory = TransferMemory.directory else { return }
        var memories: Set<String> = []
        for name in names(in: directory) {
            guard let memory = memoryName(name), isOld("\(directory)/\(name)", now: now) else { continue }
            memories.insert(memory)
        }
        for memory in memories {
            let path = "\(directory)/\(memory)"
            // Who takes this side takes its lock first.
            guard let lock = TransferLock.takeAtOnce(path + ".lock") else { continue }
            for file in [path, path + ".new"] where isOld(file, now: now) { unsafe unlink(file) }
            lock.release()
        }
    }

    /// The memory that a file is, or belongs to: `receive-4821-amber-otter-lemon` of `….lock`; nil for what is no such file.
    static func memoryName(_ name: String) -> String? {
        let memory = [".lock", ".new"].first { name.hasSuffix($0) }.map { String(name.dropLast($0.count)) } ?? name
        let isOurs = TransferMemory.Kind.allCases.contains { kind in
            let prefix = kind.rawValue + "-"
            guard memory.hasPrefix(prefix) else { return false }
            let text = String(memory.dropFirst(prefix.count))
            return TransferCode(text).map { "\($0)" == text } ?? false
        }
        return isOurs ? memory : nil
    }

    private static func isOld(_ path: String, now: Int) -> Bool {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return false }
        return status.st_mtim.tv_sec < now - keptSeconds
    }

    private static func names(in directory: String) -> [String] {
        guard let stream = unsafe opendir(directory) else { return [] }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
                unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            names.append(name)
        }
        return names
    }
}
