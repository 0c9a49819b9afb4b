/// The choice among settings that can be had. mediacapture-main, Constrainable Pattern (SelectSettings, fitness distance)
enum ConstraintSelection {
    /// The constraints that have an effect here; others are ignored, as the W3C text asks.
    static let supported: Set<String> = [
        "width", "height", "aspectRatio", "frameRate", "resizeMode", "sampleRate", "sampleSize", "channelCount",
        "latency", "echoCancellation", "autoGainControl", "noiseSuppression", "deviceId", "groupId",
        "displaySurface", "cursor",
    ]
    /// Advanced sets that are looked at.
    static let advancedLimit = 16

    /// The distance that a constraint adds, by name; infinite for one that is not met.
    typealias Distances = [(name: String, distance: Double)]

    /// How far settings are from a set.
    ///
    /// "The fitness distance between a settings dictionary and a constraint set CS is the sum, for each member
    /// constraintName of CS, …" (mediacapture-main, Constrainable Pattern)
    static func distances(_ settings: MediaTrackSettings, _ set: MediaTrackConstraintSet) -> Distances {
        var result: Distances = []
        func add(_ name: String, _ distance: Double?) {
            if let distance { result.append((name, distance)) }
        }
        add("width", set.width.map { number($0, settings.width, Double.init) })
        add("height", set.height.map { number($0, settings.height, Double.init) })
        add("aspectRatio", set.aspectRatio.map { near($0, settings.aspectRatio) })
        add("frameRate", set.frameRate.map { near($0, settings.frameRate) })
        add("resizeMode", set.resizeMode.map { name($0, settings.resizeMode) })
        add("sampleRate", set.sampleRate.map { number($0, settings.sampleRate, Double.init) })
        add("sampleSize", set.sampleSize.map { number($0, settings.sampleSize, Double.init) })
        add("channelCount", set.channelCount.map { number($0, settings.channelCount, Double.init) })
        add("latency", set.latency.map { number($0, settings.latency) { $0 } })
        add("echoCancellation", set.echoCancellation.map { flag($0, settings.echoCancellation) })
        add("autoGainControl", set.autoGainControl.map { flag($0, settings.autoGainControl) })
        add("noiseSuppression", set.noiseSuppression.map { flag($0, settings.noiseSuppression) })
        add("deviceId", set.deviceId.map { name($0, settings.deviceId) })
        add("groupId", set.groupId.map { name($0, settings.groupId) })
        add("displaySurface", set.displaySurface.map { name($0, settings.displaySurface) })
        add("cursor", set.cursor.map { name($0, settings.cursor) })
        return result
    }

    /// The sum of the distances, infinite if a required constraint is not met.
    static func distance(_ settings: MediaTrackSettings, _ set: MediaTrackConstraintSet) -> Double {
        distances(settings, set).reduce(0) { $0 + $1.distance }
    }

    private static func number<Value: Comparable & Hashable & Sendable>(
        _ constraint: ConstrainRange<Value>,
        _ value: Value?,
        _ toDouble: (Value) -> Double
    ) -> Double {
        guard let value else { return constraint.isRequired ? .infinity : constraint.ideal == nil ? 0 : 1 }
        guard constraint.isSatisfied(by: value) else { return .infinity }
        guard let ideal = constraint.ideal, ideal != value else { return 0 }
        let (actual, wanted) = (toDouble(value), toDouble(ideal))
        let largest = max(abs(actual), abs(wanted))
        return largest > 0 ? abs(actual - wanted) / largest : 0
    }

    /// Rates and shapes: 29.97 is 30, and 1.7778 is 16/9.
    private static func near(_ constraint: ConstrainDouble, _ value: Double?) -> Double {
        guard let value else { return number(constraint, nil) { $0 } }
        let bounds = [constraint.exact, constraint.min, constraint.max, constraint.ideal].compactMap { $0 }
        let meant = bounds.first { abs($0 - value) <= abs($0) * rateTolerance }
        return number(constraint, meant ?? value) { $0 }
    }

    /// A part in a hundred counts as equal, where cameras and the shapes of whole pixels differ from round numbers.
    private static let rateTolerance = 0.01

    private static func name(_ constraint: ConstrainDOMString, _ value: String?) -> Double {
        guard let value else {
            return !constraint.exact.isEmpty ? .infinity : constraint.ideal.isEmpty ? 0 : 1
        }
        if !constraint.exact.isEmpty, !constraint.exact.contains(value) { return .infinity }
        return constraint.ideal.isEmpty || constraint.ideal.contains(value) ? 0 : 1
    }

    private static func flag(_ constraint: ConstrainBoolean, _ value: Bool?) -> Double {
        guard let value else { return constraint.exact != nil ? .infinity : constraint.ideal == nil ? 0 : 1 }
        if let exact = constraint.exact, exact != value { return .infinity }
        return constraint.ideal ?? value == value ? 0 : 1
    }

    /// The candidates that serve constraints, the best first; equal ones stay in their order.
    ///
    /// - Throws: `OverconstrainedError` with the name of a constraint that no candidate meets.
    static func select<Candidate>(
        _ candidates: [Candidate],
        for constraints: MediaTrackConstraints,
        settings: (Candidate) -> MediaTrackSettings
    ) throws(RTCError) -> [Candidate] {
        try check(constraints)
        var chosen: [(candidate: Candidate, settings: MediaTrackSettings, distance: Double)] = []
        var misses: [String: Int] = [:]
        for candidate in candidates {
            let settings = settings(candidate)
            let distances = distances(settings, constraints.basic)
            let sum = distances.reduce(0) { $0 + $1.distance }
            if sum.isFinite { chosen.append((candidate, settings, sum)) }
            for entry in distances where entry.distance.isInfinite { misses[entry.name, default: 0] += 1 }
        }
        guard !chosen.isEmpty else {
            // Where no single one excludes all, the one that excludes most.
            let worst = misses.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? "deviceId"
            throw RTCError(overconstrained: worst, "no device or mode has what \(worst) asks for")
        }
        for set in constraints.advanced.prefix(advancedLimit) {
            let fitting = chosen.filter { distance($0.settings, set).isFinite }
            if !fitting.isEmpty { chosen = fitting }
        }
        return chosen.enumerated().sorted {
            ($0.element.distance, $0.offset) < ($1.element.distance, $1.offset)
        }.map(\.element.candidate)
    }

    /// Refuses what cannot be met by any device, or is no number.
    private static func check(_ constraints: MediaTrackConstraints) throws(RTCError) {
        let basic = constraints.basic
        for (name, range) in [
            ("width", basic.width), ("height", basic.height), ("sampleRate", basic.sampleRate),
            ("sampleSize", basic.sampleSize), ("channelCount", basic.channelCount),
        ] {
            guard let range else { continue }
            if [range.exact, range.ideal, range.min, range.max].contains(where: { ($0 ?? 0) < 0 }) {
                throw RTCError(.typeError, "\(name): a negative number")
            }
            if range.isContradictory { throw contradiction(name) }
        }
        for (name, range) in [
            ("aspectRatio", basic.aspectRatio), ("frameRate", basic.frameRate), ("latency", basic.latency),
        ] {
            guard let range else { continue }
            if [range.exact, range.ideal, range.min, range.max].contains(where: { !($0 ?? 0).isFinite }) {
                throw RTCError(.typeError, "\(name): not a finite number")
            }
            if range.isContradictory { throw contradiction(name) }
        }
    }

    private static func contradiction(_ name: String) -> RTCError {
        RTCError(overconstrained: name, "the limits of \(name) exclude each other")
    }
}
