import Foundation
import Media
import Testing

@testable import Capture

/// How devices that come and go are noticed, and known again.
@Suite struct DevicePlugging {
    /// A folder that stands for `/dev`.
    private struct Nodes {
        let folder: TemporaryFolder
        var path: String { folder.path }
        init() throws { folder = try TemporaryFolder() }
        func add(_ name: String) throws { _ = try folder.file(name, []) }
        func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: path + "/" + name) }
    }

    @Test(.timeLimit(.minutes(10))) func `Nodes that come, change and go are told`() async throws {
        let nodes = try Nodes()
        let (changes, feed) = AsyncStream<Void>.makeStream()
        let monitor = try DeviceMonitor(folders: [nodes.path, nodes.path + "/snd"]) { feed.yield() }
        var told = changes.makeAsyncIterator()
        try nodes.add("video7")
        #expect(await told.next() != nil)
        #expect(chmod(nodes.path + "/video7", 0o600) == 0)
        #expect(await told.next() != nil)
        // A folder that is made later is watched from then on.
        try FileManager.default.createDirectory(atPath: nodes.path + "/snd", withIntermediateDirectories: false)
        #expect(await told.next() != nil)
        try nodes.add("snd/pcmC0D0c")
        #expect(await told.next() != nil)
        try nodes.remove("video7")
        #expect(await told.next() != nil)
        withExtendedLifetime(monitor) {}
    }

    @Test func `Messages on other devices are left alone`() {
        func message(_ fields: String...) -> ArraySlice<UInt8> { Array(fields.joined(separator: "\0").utf8)[...] }
        #expect(DeviceMonitor.isRelevant(message: message("add@/devices/x", "ACTION=add", "SUBSYSTEM=video4linux")))
        #expect(DeviceMonitor.isRelevant(message: message("remove@/x", "SUBSYSTEM=sound")))
        #expect(!DeviceMonitor.isRelevant(message: message("add@/x", "ACTION=add", "SUBSYSTEM=block")))
        #expect(!DeviceMonitor.isRelevant(message: message("SUBSYSTEM=soundless")))
        #expect(!DeviceMonitor.isRelevant(message: []))
        #expect(!DeviceMonitor.isRelevant(message: [UInt8](repeating: 0, count: 100)[...]))
        #expect(!DeviceMonitor.isRelevant(message: [UInt8](repeating: 255, count: 100)[...]))
    }

    @Test func `Records of other files are left alone, and broken ones do no harm`() {
        func record(_ name: String, length: Int? = nil) -> [UInt8] {
            let bytes = Array(name.utf8) + [0, 0]
            return .number(1, bytes: 4) + .number(0x100, bytes: 4) + .number(0, bytes: 4)
                + .number(length ?? bytes.count, bytes: 4) + bytes
        }
        #expect(DeviceMonitor.isRelevant(names: (record("tty1") + record("video0"))[...]))
        #expect(DeviceMonitor.isRelevant(names: record("controlC0")[...]))
        #expect(DeviceMonitor.isRelevant(names: record("snd")[...]))
        #expect(!DeviceMonitor.isRelevant(names: (record("tty1") + record("null"))[...]))
        #expect(!DeviceMonitor.isRelevant(names: []))
        #expect(!DeviceMonitor.isRelevant(names: record("tty1").prefix(15)))
        // Better looked once too often.
        #expect(DeviceMonitor.isRelevant(names: record("tty1", length: 4_000_000_000)[...]))
    }

    @Test func `A USB camera keeps its name at another port and another node`() throws {
        func identity(port: String, node: String, serial: String?, function: String = "00") throws -> DeviceIdentity? {
            let root = try TemporaryFolder()
            let usb = "\(root.path)/devices/pci/usb1/\(port)"
            let interface = "\(usb)/\(port):1.0"
            let folder = "\(root.path)/class/video4linux/\(node)"
            for path in [interface, folder] {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            }
            var files = [
                usb + "/idVendor": "046d", usb + "/idProduct": "0825", interface + "/bInterfaceNumber": function,
            ]
            files[usb + "/serial"] = serial
            files[folder + "/index"] = "0"
            for (path, text) in files { try Data("\(text)\n".utf8).write(to: URL(fileURLWithPath: path)) }
            try FileManager.default.createSymbolicLink(atPath: folder + "/device", withDestinationPath: interface)
            return DeviceIdentity("video4linux/\(node)", root: root.path)
        }
        let first = try #require(try identity(port: "1-2", node: "video0", serial: "A1 2"))
        #expect(first.device == "usb-046d:0825-A12.00.0" && first.hardware == "usb-046d:0825-A12")
        #expect(try identity(port: "1-4", node: "video6", serial: "A1 2") == first)
        #expect(try identity(port: "1-2", node: "video0", serial: "B7") != first)
        // Without a serial number the port tells two of a make apart.
        let nameless = try #require(try identity(port: "1-2", node: "video0", serial: nil))
        #expect(nameless.hardware == "usb-046d:0825-port-1-2")
        #expect(try identity(port: "1-2", node: "video3", serial: nil) == nameless)
        // Two cameras in one device.
        let second = try #require(try identity(port: "1-2", node: "video0", serial: "A1 2", function: "02"))
        #expect(second.device != first.device && second.hardware == first.hardware)
        #expect(DeviceIdentity("video4linux/none", root: "/nowhere") == nil)
    }

    @Test func `Controls are named as v4l2-ctl names them`() {
        #expect(CameraControl.name(for: "Exposure, Auto") == "exposure_auto")
        #expect(CameraControl.name(for: "Power Line Frequency") == "power_line_frequency")
        #expect(CameraControl.name(for: "  Weiß – 1 ") == "wei_1")
        #expect(CameraControl.name(for: "") == "")
        #expect(throws: MediaError.self) { try CameraControls(path: "/dev/null") }
    }
}
