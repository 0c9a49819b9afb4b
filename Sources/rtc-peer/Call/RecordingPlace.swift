import Glibc
import PeerConnection

/// Where recordings go: into one file, or into a folder under each participant's name.
///
/// With a file's name the first recording has it, each later one the participant's name as well, since everybody is
/// recorded alone: `call.webm`, `call-Otter.webm`, `call-Otter-2.webm`. No file is ever replaced.
struct RecordingPlace: Sendable, Equatable {
    private enum Kind: Equatable { case file, directory }

    /// As it was given.
    let path: String
    private let kind: Kind

    /// Kinds of media files that are not written.
    private static let otherEndings = [
        "mkv", "mp4", "m4v", "m4a", "mov", "avi", "flv", "ivf", "wav", "ogg", "opus", "mp3", "y4m", "gif",
    ]

    /// A place in words of the command line: a name with `.webm` at its end is a file, any other is a folder, which is
    /// made if it is not there.
    init(_ path: String) throws(MediaError) {
        self.path = path
        let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
        let ending = name.lastIndex(of: ".").map { name[name.index(after: $0)...].lowercased() }
        var status = stat()
        let exists = unsafe stat(path, &status) == 0
        if exists, status.st_mode & S_IFMT == S_IFDIR {
            kind = .directory
        } else if ending == "webm" {
            guard !exists else {
                throw MediaError(.notUsable, path, "exists already: choose another name, recordings replace nothing")
            }
            kind = .file
            // The folder must be there now, not when somebody calls.
            let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
            guard unsafe access(folder, W_OK) == 0 else { throw Self.error(folder) }
            return
        } else if let ending, Self.otherEndings.contains(ending) {
            throw MediaError(.invalidArgument, path, "recordings are WebM files: give a name that ends in .webm")
        } else {
            kind = .directory
        }
        // With the slash a file of that name is refused as well.
        guard unsafe mkdir(path, 0o755) == 0 || errno == EEXIST && access(path + "/", W_OK) == 0 else {
            throw Self.error(path)
        }
    }

    /// A path that is free, for what `name` sends.
    func freePath(for name: String) -> String {
        let safe = FileConvention.safeName(name)
        let stem: String
        switch kind {
        case .directory: stem = "\(path)/\(safe)"
        case .file:
            if unsafe access(path, F_OK) != 0 { return path }
            stem = "\(path.dropLast(".webm".count))-\(safe)"
        }
        var number = 1
        while true {
            let candidate = "\(stem)\(number == 1 ? "" : "-\(number)").webm"
            if unsafe access(candidate, F_OK) != 0 { return candidate }
            number += 1
        }
    }

    private static func error(_ folder: String) -> MediaError {
        let reason = unsafe String(cString: strerror(errno))
        return MediaError(.notUsable, folder, "cannot be used as a folder: \(reason)")
    }
}
