import Glibc
import PAKE

/// Sees to it that one process of a user at a time takes a side of a transfer: another one would take over its secret,
/// its partner and its files.
///
/// Held until it is released or the process ends, however that comes about.
final class TransferLock: Sendable {
    private let descriptor: CInt
    private let path: String

    /// A process that was killed holds it for some moments.
    private static let patience = Duration.seconds(1)
    private static let pause = Duration.milliseconds(50)

    private init(descriptor: CInt, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Takes the lock.
    ///
    /// - Returns: nil for a user without a directory to keep it in.
    /// - Throws: `connection` if another process has it.
    static func take(_ kind: TransferMemory.Kind, _ code: TransferCode) async throws -> TransferLock? {
        guard let path = TransferMemory.lockPath(kind, code) else { return nil }
        let end = ContinuousClock.now + patience
        while true {
            switch attempt(path) {
            case .taken(let lock): return lock
            case .cannotBeMade: return nil
            case .removed: continue
            case .held:
                guard ContinuousClock.now < end else {
                    throw MeetingError.connection(
                        "another rtc-peer of yours on this machine is busy with \(code) already"
                    )
                }
                try await Task.sleep(for: pause)
            }
        }
    }

    /// Takes a lock if nobody holds it at this moment; nil if somebody does.
    static func takeAtOnce(_ path: String) -> TransferLock? {
        if case .taken(let lock) = attempt(path) { lock } else { nil }
    }

    private enum Attempt {
        case taken(TransferLock)
        case held
        /// Who had it before has let go of it between the opening and the locking, and removed it.
        case removed
        case cannotBeMade
    }

    private static func attempt(_ path: String) -> Attempt {
        let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return .cannotBeMade }
        let isTaken = flock(descriptor, LOCK_EX | LOCK_NB) == 0
        if isTaken, isStill(descriptor, at: path) {
            return .taken(TransferLock(descriptor: descriptor, path: path))
        }
        close(descriptor)
        return isTaken ? .removed : .held
    }

    /// Whether who had it before has not removed it meanwhile.
    private static func isStill(_ descriptor: CInt, at path: String) -> Bool {
        var (held, present) = (stat(), stat())
        return unsafe fstat(descriptor, &held) == 0 && stat(path, &present) == 0 && held.st_ino == present.st_ino
            && held.st_dev == present.st_dev
    }

    /// Gives it back; once.
    func release() {
        unsafe unlink(path)
        close(descriptor)
    }
}
