import JSON
import NIOCore
import Signaling

/// A `RoomTable` in virtual time, with what it wants sent, by connection.
final class RoomTester {
    var table: RoomTable
    var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private var messages: [Int: [ServerMessage]] = [:]
    private(set) var closes: [Int: RoomCloseCode] = [:]
    private(set) var pings: [Int: Int] = [:]

    init(_ change: (inout SignalingLimits) -> Void = { _ in }) {
        var limits = SignalingLimits()
        change(&limits)
        table = RoomTable(limits: limits)
    }

    func open(_ number: Int) {
        table.open(id(number), at: now)
        drain()
    }

    func say(_ number: Int, _ text: String) {
        table.receive(Array(text.utf8), on: id(number), at: now)
        drain()
    }

    func say(_ number: Int, _ message: ClientMessage) { say(number, message.json.text) }

    /// Opens a connection and joins; nil if that is refused.
    @discardableResult
    func join(
        _ number: Int,
        _ room: String = "room",
        name: String = "",
        token: String? = nil,
        ack: Int? = nil,
        replaces: String? = nil
    ) -> ServerMessage.Joined? {
        open(number)
        say(number, .join(.init(room: room, name: name, token: token, acknowledged: ack, replaces: replaces)))
        guard case .joined(let joined)? = messages[number]?.first else { return nil }
        messages[number]?.removeFirst()
        return joined
    }

    func relay(_ number: Int, _ sdp: String, to peer: SignalingPeerID, sequence: Int? = nil) {
        say(number, .relay(.offer(sdp: sdp), to: peer, sequence: sequence))
    }

    func lose(_ number: Int, isFarewell: Bool = false) {
        table.close(id(number), isFarewell: isFarewell, at: now)
        drain()
    }

    func stop() {
        table.stop(at: now)
        drain()
    }

    /// Lets time pass, deadline by deadline; the connections `answering` answer pings.
    func wait(_ duration: TimeAmount, answering: Set<Int> = []) {
        let end = now + duration
        while let deadline = table.nextDeadline, deadline <= end {
            now = max(now, deadline)
            let before = pings
            table.handleTimeout(at: now)
            drain()
            for number in answering where pings[number] != before[number] { table.heard(id(number), at: now) }
        }
        now = end
    }

    /// What was sent there since the last call.
    func heard(_ number: Int) -> [ServerMessage] { messages.removeValue(forKey: number) ?? [] }

    /// The one error that was sent there since the last call; nil if it is not the only thing.
    func error(_ number: Int) -> SignalingError? {
        let all = heard(number)
        guard all.count == 1, case .error(let error) = all[0] else { return nil }
        return error
    }

    /// The offers that were sent there since the last call.
    func offers(_ number: Int) -> [String] {
        heard(number).compactMap { if case .relay(.offer(let sdp), _, _, _) = $0 { sdp } else { nil } }
    }

    private func id(_ number: Int) -> RoomConnectionID { RoomConnectionID(rawValue: number) }

    private func drain() {
        while let action = table.nextAction() {
            switch action {
            case .send(let id, let text):
                if let message = try? ServerMessage(parsing: text.utf8) {
                    messages[id.rawValue, default: []].append(message)
                }
            case .ping(let id): pings[id.rawValue, default: 0] += 1
            case .close(let id, let code, _): closes[id.rawValue] = code
            }
        }
    }
}
