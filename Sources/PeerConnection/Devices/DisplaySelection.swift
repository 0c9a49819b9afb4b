internal import Capture
internal import Media

/// The screen, monitor or window behind a source.
struct SourceDisplay: Sendable {
    let surface: DisplaySurface
    let framesPerSecond: Double
    let cursor: CursorCapture
}

/// What is made of a screen's pictures.
enum DisplaySelection {
    /// Refuses what may not be asked of a screen: exact values, minima and advanced sets, with a `TypeError`, so that a page or
    /// program cannot steer what a person chooses. screen-capture §5.1 (getDisplayMedia)
    static func check(_ constraints: MediaTrackConstraints) throws(RTCError) {
        guard constraints.advanced.isEmpty else {
            throw RTCError(.typeError, "getDisplayMedia: advanced sets may not be given; take applyConstraints")
        }
        let set = constraints.basic
        let integers = [
            ("width", set.width), ("height", set.height), ("sampleRate", set.sampleRate),
            ("sampleSize", set.sampleSize), ("channelCount", set.channelCount),
        ]
        let doubles = [("aspectRatio", set.aspectRatio), ("frameRate", set.frameRate), ("latency", set.latency)]
        let names = [
            ("resizeMode", set.resizeMode), ("displaySurface", set.displaySurface), ("cursor", set.cursor),
            ("deviceId", set.deviceId), ("groupId", set.groupId),
        ]
        let required =
            integers.filter { $0.1?.exact != nil || $0.1?.min != nil }.map(\.0)
            + doubles.filter { $0.1?.exact != nil || $0.1?.min != nil }.map(\.0)
            + names.filter { $0.1?.exact.isEmpty == false }.map(\.0)
        if let name = required.first {
            throw RTCError(
                .typeError,
                "getDisplayMedia: \(name) may be ideal or have a maximum, and not be exact or have a minimum"
            )
        }
        // Below what any source can be scaled or thinned to.
        for (name, most) in [("width", set.width?.max), ("height", set.height?.max)] {
            if let most, most < 1 { throw RTCError(overconstrained: name, "no picture has a \(name) of \(most)") }
        }
        if let most = set.frameRate?.max, !(most > 0) {
            throw RTCError(overconstrained: "frameRate", "no source gives \(most) pictures a second")
        }
    }

    /// Pictures a second that are taken of a screen.
    static func framesPerSecond(_ constraints: MediaTrackConstraints) -> Double {
        let wanted = constraints.basic.frameRate
        let rate = min(wanted?.ideal ?? defaultRate, wanted?.max ?? .infinity)
        guard rate.isFinite else { return defaultRate }
        return min(max(rate, ScreenCapture.rates.lowerBound), ScreenCapture.rates.upperBound)
    }

    /// Whether the pointer is in the picture.
    static func cursor(_ constraints: MediaTrackConstraints) -> CursorCapture {
        constraints.basic.cursor?.ideal.lazy.compactMap { CursorCapture(rawValue: $0) }.first ?? .always
    }

    /// The surfaces, those of the kind that is preferred first.
    static func ordered(_ surfaces: [DisplaySurface], for constraints: MediaTrackConstraints) -> [DisplaySurface] {
        let kinds = constraints.basic.displaySurface?.ideal ?? []
        return surfaces.filter { kinds.contains($0.displaySurface) }
            + surfaces.filter { !kinds.contains($0.displaySurface) }
    }

    /// What is made of pictures of a size, so that constraints are met.
    ///
    /// - Returns: nil if nothing need be done.
    /// - Throws: `OverconstrainedError` with the name of what cannot be had.
    static func target(
        _ constraints: MediaTrackConstraints,
        width: Int,
        height: Int,
        of display: SourceDisplay
    ) throws(RTCError) -> VideoTarget? {
        let sets = [constraints.basic] + constraints.advanced.prefix(ConstraintSelection.advancedLimit)
        var targets: [VideoTarget?] = [nil]
        for set in sets {
            if let target = target(set, width, height, display), !targets.contains(target) { targets.append(target) }
        }
        let chosen = try ConstraintSelection.select(targets, for: constraints) {
            settings(width: width, height: height, $0, of: display)
        }
        return chosen.first ?? nil
    }

    /// The largest size inside what a set asks for, of the same shape, and the rate.
    private static func target(
        _ set: MediaTrackConstraintSet,
        _ width: Int,
        _ height: Int,
        _ display: SourceDisplay
    ) -> VideoTarget? {
        let wantedWidth = set.width.map { min(width, max(1, $0.target(from: width))) } ?? width
        let wantedHeight = set.height.map { min(height, max(1, $0.target(from: height))) } ?? height
        var (newWidth, newHeight) = (width, height)
        if width * wantedHeight > wantedWidth * height {
            newWidth = wantedWidth
            newHeight = max(1, (height * wantedWidth + width / 2) / max(1, width))
        } else {
            newHeight = wantedHeight
            newWidth = max(1, (width * wantedHeight + height / 2) / max(1, height))
        }
        var rate: Double?
        let fastest = display.framesPerSecond
        if let wanted = set.frameRate?.target(from: fastest), wanted > 0, wanted < fastest * 0.99 { rate = wanted }
        if newWidth == width, newHeight == height, rate == nil { return nil }
        return VideoTarget(width: newWidth, height: newHeight, frameRate: rate)
    }

    /// What a track of a screen gives.
    static func settings(width: Int, height: Int, _ target: VideoTarget?, of display: SourceDisplay)
        -> MediaTrackSettings
    {
        var settings = MediaTrackSettings()
        let (newWidth, newHeight) = (target?.width ?? width, target?.height ?? height)
        settings.width = newWidth
        settings.height = newHeight
        settings.aspectRatio = Double(newWidth) / Double(max(1, newHeight))
        settings.frameRate = target?.frameRate ?? display.framesPerSecond
        settings.resizeMode = newWidth == width && newHeight == height ? "none" : "crop-and-scale"
        settings.displaySurface = display.surface.displaySurface
        settings.cursor = display.cursor.rawValue
        return settings
    }

    private static let defaultRate = 30.0
}
