internal import Glibc

/// The directory that files are received into: all paths are walked from it, component by component, without following
/// a link.
struct TargetDirectory {
    let root: OpenFile
    /// The directories that lead to the last path, so that neighbours cost no walk.
    private var stack: [(name: [UInt8], file: OpenFile)] = []

    /// Opens the target.
    ///
    /// - Parameter path: an existing directory; a link to one is followed, since the user named it.
    /// - Throws: `notFound`, `accessDenied`, `unsafePath` if it is no directory.
    init(path: String) throws(TransferError) {
        guard let root = FileCalls.open(path, O_RDONLY | O_DIRECTORY) else {
            throw FileCalls.failure("open the target directory", path)
        }
        self.root = root
    }

    /// Opens the directory at a path.
    ///
    /// - Returns: nil with `errno`.
    mutating func open(_ path: some Collection<String>) -> OpenFile? {
        let names = path.map { Array($0.utf8) }
        var common = 0
        while common < min(names.count, stack.count), stack[common].name == names[common] { common += 1 }
        stack.removeSubrange(common...)
        for (index, name) in path.enumerated().dropFirst(common) {
            let parent = stack.last?.file ?? root
            guard let file = FileCalls.open(name, in: parent.descriptor, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else {
                return nil
            }
            stack.append((names[index], file))
        }
        return stack.last?.file ?? root
    }
}
