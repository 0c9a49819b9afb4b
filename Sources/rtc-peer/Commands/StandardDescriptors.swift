import Glibc

/// Standard input, output and error.
enum StandardDescriptors {
    /// Opens those that are closed on /dev/null, before a socket or a file gets the number of one and is written to.
    ///
    /// The wrong way round: who reads or writes them fails as if they were closed, and nothing is lost silently.
    static func fill() {
        for descriptor in CInt(0)...2 where fcntl(descriptor, F_GETFD) == -1 && errno == EBADF {
            // Gives the lowest free number, which is this one.
            _ = unsafe open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
    }
}
