internal import Capture

/// What a track makes of its camera's pictures.
struct VideoTarget: Hashable {
    var width: Int
    var height: Int
    /// Pictures a second; nil for all that come.
    var frameRate: Double?
}

/// What a track needs of its camera, at least.
struct VideoDemand: Sendable {
    var width: Int
    var height: Int
    var frameRate: Double?
    /// Whether it takes what the camera itself gives, and nothing made of it.
    var isNative: Bool
}

/// A camera's mode and rate, and what is made of it.
struct CameraCandidate {
    let device: Int
    let mode: CameraMode
    let interval: FrameInterval?
    /// Nil for what the camera itself gives.
    let target: VideoTarget?
    let settings: MediaTrackSettings
}

/// The settings that cameras can have, those first that suit a call and cost least.
enum CameraSelection {
    /// Sizes and rates that constraints name, to be tried where a camera has ranges.
    static func wishes(_ constraints: MediaTrackConstraints) -> [CameraWish] {
        let sets = [constraints.basic] + constraints.advanced.prefix(ConstraintSelection.advancedLimit)
        return sets.map { set in
            // A program's own numbers may be anything; no camera has more.
            let width = set.width.map { min(max(0, $0.target(from: defaultWidth)), longestSide) }
            let height = set.height.map {
                min(max(0, $0.target(from: width.map { $0 * 3 / 4 } ?? defaultHeight)), longestSide)
            }
            return CameraWish(
                width: width ?? height.map { $0 * 4 / 3 } ?? defaultWidth,
                height: height ?? width.map { $0 * 3 / 4 } ?? defaultHeight,
                framesPerSecond: Int(
                    (set.frameRate?.target(from: defaultRate) ?? defaultRate).rounded(.up).clampedToInt
                )
            )
        }
    }

    /// Every setting of a camera that constraints could want.
    ///
    /// - Parameters:
    ///   - modes: what the camera can do.
    ///   - constraints: name sizes and rates that pictures are cut and scaled to.
    ///   - device: the camera's number among those that are looked at.
    ///   - info: the camera; nil for a source that is no device.
    /// - Returns: the settings; of those that serve constraints equally well the first is the one to have.
    static func candidates(
        _ modes: [CameraMode],
        for constraints: MediaTrackConstraints,
        device: Int,
        info: MediaDeviceInfo?
    ) -> [CameraCandidate] {
        let sets = [constraints.basic] + constraints.advanced.prefix(ConstraintSelection.advancedLimit)
        // Of modes that differ in their format alone, the cheapest.
        var cheapest: [Size: CameraMode] = [:]
        for mode in modes where !mode.intervals.isEmpty || mode.width > 0 {
            for interval in mode.intervals.isEmpty ? [nil] : mode.intervals.map(Optional.some) {
                let size = Size(width: mode.width, height: mode.height, interval: interval)
                if let known = cheapest[size], known.format.relativeCost <= mode.format.relativeCost { continue }
                cheapest[size] = mode
            }
        }
        var result: [(candidate: CameraCandidate, order: Order)] = []
        for (size, mode) in cheapest {
            var targets: [VideoTarget?] = [nil]
            for set in sets {
                if let target = target(set, of: size), !targets.contains(target) { targets.append(target) }
            }
            for target in targets {
                let settings = settings(size, target, info)
                let candidate = CameraCandidate(
                    device: device,
                    mode: mode,
                    interval: size.interval,
                    target: target,
                    settings: settings
                )
                result.append((candidate, Order(candidate, constraints)))
            }
        }
        return result.sorted { $0.order < $1.order }.map(\.candidate)
    }

    private struct Size: Hashable {
        var width: Int
        var height: Int
        var interval: FrameInterval?
    }

    /// What comes first among settings that serve constraints equally well.
    private struct Order: Comparable {
        /// From what suits a call, in what the constraints leave open.
        var defaultDistance: Double
        var isScaled: Bool
        /// Logarithm of the work for a second.
        var cost: Double

        init(_ candidate: CameraCandidate, _ constraints: MediaTrackConstraints) {
            let basic = constraints.basic
            var open = MediaTrackConstraintSet()
            let namesSize = basic.width?.isNamed ?? false || basic.height?.isNamed ?? false
            if !namesSize {
                open.width = .ideal(CameraSelection.defaultWidth)
                open.height = .ideal(CameraSelection.defaultHeight)
            }
            if !(basic.frameRate?.isNamed ?? false) { open.frameRate = .ideal(CameraSelection.defaultRate) }
            defaultDistance = ConstraintSelection.distance(candidate.settings, open)
            isScaled = candidate.target != nil
            let mode = candidate.mode
            cost =
                Double.log2(Double(max(1, mode.width * mode.height)))
                + Double.log2(max(1, candidate.interval?.framesPerSecond ?? CameraSelection.defaultRate))
                + mode.format.relativeCost
        }

        static func < (one: Order, other: Order) -> Bool {
            (one.defaultDistance, one.isScaled ? 1 : 0, one.cost)
                < (other.defaultDistance, other.isScaled ? 1 : 0, other.cost)
        }
    }

    /// The size and rate that a set asks for, as near as a camera's pictures can be brought to them.
    ///
    /// - Returns: nil if nothing need be done.
    private static func target(_ set: MediaTrackConstraintSet, of size: Size) -> VideoTarget? {
        let nativeRate = size.interval?.framesPerSecond
        var (width, height) = (size.width, size.height)
        let shape = set.aspectRatio?.target(from: Double(size.width) / Double(max(1, size.height)))
        let wantedWidth = set.width?.target(from: size.width)
        let wantedHeight = set.height?.target(from: size.height)
        if let wantedWidth { width = wantedWidth }
        if let wantedHeight { height = wantedHeight }
        // What is not named follows from the shape: the wanted one, else the camera's.
        let ratio = shape ?? Double(size.width) / Double(max(1, size.height))
        guard ratio > 0.01, ratio < 100 else { return nil }
        if set.width != nil, set.height == nil {
            height = even(Double(width) / ratio)
        } else if set.height != nil, set.width == nil {
            width = even(Double(height) * ratio)
        } else if set.width == nil, shape != nil {
            width = min(size.width, even(Double(size.height) * ratio))
            height = min(size.height, even(Double(width) / ratio))
        }
        // Nothing is made larger.
        width = min(width, size.width)
        height = min(height, size.height)
        guard width >= leastSide, height >= leastSide else { return nil }
        var rate: Double?
        // A source that does not tell its rate may be faster than wanted.
        let fastest = nativeRate ?? unknownRate
        if let wanted = set.frameRate?.target(from: fastest), wanted > 0, wanted < fastest * 0.99 { rate = wanted }
        if width == size.width, height == size.height, rate == nil { return nil }
        return VideoTarget(width: width, height: height, frameRate: rate)
    }

    /// Settings of a mode and what is made of it.
    private static func settings(_ size: Size, _ target: VideoTarget?, _ info: MediaDeviceInfo?) -> MediaTrackSettings {
        var settings = MediaTrackSettings()
        let (width, height) = (target?.width ?? size.width, target?.height ?? size.height)
        settings.width = width
        settings.height = height
        settings.aspectRatio = Double(width) / Double(max(1, height))
        settings.frameRate = target?.frameRate ?? size.interval?.framesPerSecond
        settings.resizeMode = target == nil ? "none" : "crop-and-scale"
        settings.deviceId = info?.deviceId
        settings.groupId = info?.groupId
        return settings
    }

    private static func even(_ value: Double) -> Int { Int((value / 2).rounded().clampedToInt) * 2 }

    /// The smallest side of a picture that is made.
    static let leastSide = 16
    private static let longestSide = 16_384
    private static let defaultWidth = 640
    private static let defaultHeight = 480
    private static let defaultRate = 30.0
    /// No source is faster.
    private static let unknownRate = 1_000.0
}

extension ConstrainRange {
    /// Whether it says what value is wanted, not only between which limits.
    fileprivate var isNamed: Bool { exact != nil || ideal != nil }
}

extension Double {
    /// Within what an `Int` holds; numbers of a program's own may be anything.
    fileprivate var clampedToInt: Double { isNaN ? 0 : Swift.min(Swift.max(self, -1e9), 1e9) }

    /// Logarithm for comparing costs: the exponent and a straight line between powers of two.
    fileprivate static func log2(_ value: Double) -> Double {
        value > 0 ? Double(value.exponent) + value.significand - 1 : 0
    }
}

extension CameraPixelFormat {
    /// What turning it into I420 costs, in doublings of the number of pixels.
    var relativeCost: Double { cost / 100 }
}
