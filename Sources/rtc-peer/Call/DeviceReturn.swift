/// When a device that was lost is worth another try: a machine, without a clock of its own.
///
/// The kernel tells what is plugged in and taken away. Nobody tells that a sound server runs again, or that another program
/// has let go of a device: what is there, and what no kernel knows, is tried every two seconds.
struct DeviceReturn {
    /// Whether the kernel tells when it comes and goes, as it does of cameras and sound cards.
    let isHardware: Bool
    /// Whether it is plugged in.
    private var isListed: Bool
    /// Quick tries that are left: permissions may take a moment after a device was plugged in.
    private var quickTries = 0
    private var hasBegun = false

    /// Quick tries after a device was plugged in, and what is waited between them.
    static let quickLimit = 10
    static let quickPause = Duration.milliseconds(500)
    /// Between all other tries.
    static let pause = Duration.seconds(2)

    /// A device that was lost just now.
    init(isHardware: Bool, isListed: Bool) {
        self.isHardware = isHardware
        self.isListed = isListed
    }

    /// How long to wait until the next try; nil while only the kernel can tell that there is a use in one.
    var wait: Duration? {
        guard isListed || !isHardware else { return nil }
        if !hasBegun { return .zero }
        return quickTries > 0 ? Self.quickPause : Self.pause
    }

    /// The kernel has told of devices.
    ///
    /// - Parameters:
    ///   - isListed: whether this one is there now.
    ///   - isInserted: whether it is among those that were plugged in, or may stand behind one of them.
    mutating func devicesChanged(isListed: Bool, isInserted: Bool) {
        self.isListed = isListed
        guard isInserted else { return }
        quickTries = Self.quickLimit
        hasBegun = false
    }

    /// A try came to nothing.
    mutating func tryFailed() {
        hasBegun = true
        quickTries = max(0, quickTries - 1)
    }
}
