internal import CV4L2
internal import Glibc
public import Media

/// Something that a camera lets be set: brightness, exposure, focus, the mains' frequency.
public struct CameraControl: Hashable, Sendable {
    /// What values it takes.
    public enum Kind: String, Hashable, Sendable {
        /// A number of the range.
        case integer
        /// 0 or 1.
        case boolean
        /// One of the choices.
        case menu
        /// None: setting it does something.
        case button
    }

    /// V4L2's number of it.
    public let id: UInt32
    /// A name to write, as `exposure_time_absolute`; the same that `v4l2-ctl` uses.
    public let name: String
    /// What the driver calls it.
    public let title: String
    /// What values it takes.
    public let kind: Kind
    /// The least and the greatest value.
    public let range: ClosedRange<Int>
    /// The distance of two values, at least 1.
    public let step: Int
    /// The value that the driver begins with.
    public let defaultValue: Int
    /// The value that it has; nil if it cannot be read.
    public let value: Int?
    /// What the values of a menu mean.
    public let choices: [Int: String]
    /// Whether it can only be read.
    public let isReadOnly: Bool
    /// Whether it has no effect at present, as a focus while the camera focuses by itself.
    public let isInactive: Bool

    /// The name that is written for a title: letters and digits, and `_` for what is between them.
    static func name(for title: String) -> String {
        let words = title.lowercased().split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }
        return words.joined(separator: "_")
    }
}

/// A camera's controls, readable and settable also while it streams, here or in another program.
public final class CameraControls: Sendable {
    private let device: V4L2Device

    /// Opens a camera's node, and no picture.
    ///
    /// - Throws: `MediaError` that says what to do, as ``V4L2Camera/init(path:wish:)``.
    public init(path: String) throws(MediaError) { device = try V4L2Device(path) }

    /// All controls that have a number for a value, as they are now, in the driver's order.
    ///
    /// - Throws: `MediaError.unplugged` if the camera is gone.
    public func all() throws(MediaError) -> [CameraControl] {
        var controls: [CameraControl] = []
        var last: UInt32 = 0
        for _ in 0..<Self.limit {
            var query = v4l2_queryctrl()
            query.id = last | cv4l2_V4L2_CTRL_FLAG_NEXT_CTRL
            let code = device.request(cv4l2_VIDIOC_QUERYCTRL, &query)
            if code == ENODEV { throw device.error(code, "") }
            // EINVAL is the end; a driver that turns back has none.
            guard code == 0, query.id > last else { break }
            last = query.id
            if let control = describe(query) { controls.append(control) }
        }
        return controls
    }

    /// Sets a control.
    ///
    /// - Parameters:
    ///   - name: as ``CameraControl/name``.
    ///   - value: within its range; anything for a button.
    /// - Returns: the control as it is then: a driver may take the nearest value that it has.
    /// - Throws: `MediaError`: `.notFound` if the camera has no such control, `.invalidArgument` for a value out of range
    ///   or a control that cannot be set, `.busy` while another program holds it.
    @discardableResult
    public func set(_ name: String, to value: Int) throws(MediaError) -> CameraControl {
        let controls = try all()
        guard let control = controls.first(where: { $0.name == name }) else {
            let known = controls.map(\.name).joined(separator: ", ")
            throw MediaError(.notFound, device.path, "the camera has no control “\(name)”; it has: \(known)")
        }
        guard !control.isReadOnly else { throw refusal(control, "can only be read") }
        guard control.kind == .button || control.range.contains(value) else {
            throw refusal(control, "takes \(control.range.lowerBound) to \(control.range.upperBound), not \(value)")
        }
        guard control.kind != .menu || control.choices[value] != nil else {
            let known = control.choices.sorted { $0.key < $1.key }.map { "\($0.key) (\($0.value))" }
            throw refusal(control, "takes \(known.joined(separator: ", ")), not \(value)")
        }
        var request = v4l2_control(id: control.id, value: Int32(clamping: value))
        let code = device.request(cv4l2_VIDIOC_S_CTRL, &request)
        guard code == 0 else {
            if control.isInactive { throw refusal(control, "is inactive: switch off what sets it automatically first") }
            throw device.error(code, "\(name) cannot be set to \(value)")
        }
        return try all().first { $0.id == control.id } ?? control
    }

    private func refusal(_ control: CameraControl, _ words: String) -> MediaError {
        MediaError(.invalidArgument, device.path, "\(control.name) \(words)")
    }

    private func describe(_ query: v4l2_queryctrl) -> CameraControl? {
        let kinds: [UInt32: CameraControl.Kind] = [
            V4L2_CTRL_TYPE_INTEGER.rawValue: .integer, V4L2_CTRL_TYPE_BOOLEAN.rawValue: .boolean,
            V4L2_CTRL_TYPE_MENU.rawValue: .menu, V4L2_CTRL_TYPE_INTEGER_MENU.rawValue: .menu,
            V4L2_CTRL_TYPE_BUTTON.rawValue: .button,
        ]
        func has(_ flag: CInt) -> Bool { query.flags & UInt32(bitPattern: flag) != 0 }
        guard let kind = kinds[query.type], !has(V4L2_CTRL_FLAG_DISABLED) else { return nil }
        let title = V4L2Device.text(of: query.name)
        let (least, most) = (Int(query.minimum), max(Int(query.minimum), Int(query.maximum)))
        var value: Int?
        if kind != .button, !has(V4L2_CTRL_FLAG_WRITE_ONLY) {
            var request = v4l2_control(id: query.id, value: 0)
            if device.request(cv4l2_VIDIOC_G_CTRL, &request) == 0 { value = Int(request.value) }
        }
        return CameraControl(
            id: query.id,
            name: CameraControl.name(for: title),
            title: title,
            kind: kind,
            range: least...most,
            step: max(1, Int(query.step)),
            defaultValue: Int(query.default_value),
            value: value,
            choices: kind == .menu ? choices(query, least, most) : [:],
            isReadOnly: has(V4L2_CTRL_FLAG_READ_ONLY),
            isInactive: has(V4L2_CTRL_FLAG_INACTIVE)
        )
    }

    private func choices(_ query: v4l2_queryctrl, _ least: Int, _ most: Int) -> [Int: String] {
        var choices: [Int: String] = [:]
        let isNumber: CInt = query.type == V4L2_CTRL_TYPE_INTEGER_MENU.rawValue ? 1 : 0
        for index in max(0, least)...min(max(0, most), max(0, least) + Self.choiceLimit) {
            var name = [CChar](repeating: 0, count: 33)
            var number: Int64 = 0
            // Menus have gaps.
            guard unsafe cv4l2_menu_entry(device.descriptor, query.id, UInt32(index), isNumber, &name, &number) == 0
            else { continue }
            let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            choices[index] =
                isNumber == 1 ? "\(number)" : String(text.unicodeScalars.filter { $0.value >= 32 }.map(Character.init))
        }
        return choices
    }

    // What a driver may make us hold.
    private static let limit = 512
    private static let choiceLimit = 255
}
