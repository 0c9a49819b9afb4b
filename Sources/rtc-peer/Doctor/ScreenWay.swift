import PeerConnection

/// How this machine's screen would be captured.
struct ScreenWay: Hashable {
    /// `portal`, `x11`, or nil if it cannot be.
    var way: String?
    /// The display, or why there is none.
    var detail: String

    /// Looks, without asking anybody for leave; takes at most ten seconds.
    static func find() async -> ScreenWay {
        do throws(RTCError) {
            let surfaces = try await MediaDevices.shared.displaySurfaces()
            if surfaces.contains(where: { $0.kind == .portal }) {
                return ScreenWay(way: "portal", detail: "by xdg-desktop-portal and PipeWire; its user is asked")
            }
            guard let first = surfaces.first else { return ScreenWay(way: nil, detail: "there is nothing to capture") }
            let extent = surfaces.contains { $0.kind == .screen } ? "" : "; only windows of X programs"
            return ScreenWay(way: "x11", detail: "display \(first.display)\(extent)")
        } catch {
            return ScreenWay(way: nil, detail: error.message)
        }
    }
}
