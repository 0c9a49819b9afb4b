internal import CLinux

/// The processors of this machine.
enum Processors {
    /// How many of them this process might use when it was asked first; at least 1.
    static let count = max(1, Int(clinux_processor_count()))
}
