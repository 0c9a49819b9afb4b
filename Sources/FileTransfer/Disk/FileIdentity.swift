internal import Glibc

/// Which file a name stands for, whatever becomes of the name. stat(2)
struct FileIdentity: Hashable {
    private let device: UInt
    private let number: UInt

    init(_ status: stat) {
        device = UInt(status.st_dev)
        number = UInt(status.st_ino)
    }
}
