internal import Glibc
internal import Media

/// Which piece of hardware a device node belongs to, by what the kernel shows in `/sys`.
package struct DeviceIdentity: Hashable, Sendable {
    /// The device, the same when it is plugged in again; at another port, too, if it has a serial number.
    package let device: String
    /// The piece of hardware with all its devices, as a webcam with its microphone.
    package let hardware: String

    /// Looks a device up; nil if nothing is known of it.
    ///
    /// - Parameters:
    ///   - folder: of the device in `/sys/class`, as `video4linux/video0` or `sound/card0`.
    ///   - root: where `/sys` is.
    package init?(_ folder: String, root: String = "/sys") {
        guard let path = unsafe realpath("\(root)/class/\(folder)/device", nil) else { return nil }
        defer { unsafe free(path) }
        let start = unsafe String(cString: path)
        // Which of the cameras of one USB device: the interface, and the node's number there.
        let index = SystemText.word("\(root)/class/\(folder)/index") ?? ""
        let function = SystemText.word("\(start)/bInterfaceNumber") ?? ""
        var parts = start.split(separator: "/").map(String.init)
        while parts.count > 1 {
            let parent = "/" + parts.joined(separator: "/")
            if let vendor = SystemText.word(parent + "/idVendor"), let product = SystemText.word(parent + "/idProduct")
            {
                let serial = SystemText.word(parent + "/serial") ?? ""
                let port = parts.last ?? ""
                let name = "usb-\(vendor):\(product)-" + (serial.isEmpty ? "port-\(port)" : serial)
                device = [name, function, index].filter { !$0.isEmpty }.joined(separator: ".")
                hardware = name
                return
            }
            parts.removeLast()
        }
        // Built in: where it sits does not change.
        let name = start.split(separator: "/").suffix(2).joined(separator: "-")
        device = [name, index].filter { !$0.isEmpty }.joined(separator: ".")
        hardware = name
    }
}

/// What the kernel shows in `/sys`.
enum SystemText {
    /// The first line of a file, of printable characters; nil if there is none.
    static func line(_ path: String) -> String? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return nil }
        let line = String(decoding: bytes.prefix(count).prefix { $0 != 10 }, as: UTF8.self)
        return String(line.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.map(Character.init))
    }

    /// A line as a part of a name: without spaces and what is not ASCII.
    static func word(_ path: String) -> String? {
        line(path).map { line in
            String(line.unicodeScalars.filter { $0.value > 32 && $0.value < 127 }.map(Character.init))
        }
    }
}

/// A camera's node, whether or not this user may open it.
package struct CameraNode: Hashable, Sendable {
    /// As `/dev/video0`.
    package let path: String
    /// What its driver calls it.
    package let name: String
    /// Which camera it is; nil if the kernel does not tell.
    package let identity: DeviceIdentity?

    /// The cameras that are plugged in; no picture is asked for, and modes are not looked at.
    package static func all() -> [CameraNode] {
        Camera.nodes().compactMap { path in
            let node = String(path.dropFirst("/dev/".count))
            let identity = DeviceIdentity("video4linux/\(node)")
            do throws(MediaError) {
                return CameraNode(path: path, name: try V4L2Device(path).name, identity: identity)
            } catch {
                // A node that may not be opened is a camera if it is the first of its device.
                guard error.kind == .notPermitted || error.kind == .busy else { return nil }
                let folder = "/sys/class/video4linux/\(node)"
                guard SystemText.line(folder + "/index") ?? "0" == "0" else { return nil }
                return CameraNode(path: path, name: SystemText.line(folder + "/name") ?? node, identity: identity)
            }
        }
    }
}
