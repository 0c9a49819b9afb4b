import PeerConnection
import Testing

@testable import rtc_peer

/// What is counted of a forwarded connection, and what its texts mean.
@Suite struct ForwardFlows {
    private let window = ForwardFlow.windowByteCount
    private let step = ForwardFlow.creditStepByteCount

    private func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

    @Test func creditMakesRoom() throws {
        var flow = ForwardFlow()
        #expect(flow.room == window)
        flow.didSend(window)
        #expect(flow.room == 0)
        let received = try flow.receive(.text("credit \(step)"))
        #expect(received == .credit)
        #expect(flow.room == step)
        _ = try flow.receive(.text("credit \(window)"))
        #expect(flow.room == window)
    }

    @Test func moreThanTheWindowIsRefusedUntilItIsPassedOn() throws {
        var flow = ForwardFlow()
        _ = try flow.receive(.binary(bytes(window)))
        #expect(throws: ForwardFlow.Violation.tooMuch) { _ = try flow.receive(.binary([1])) }
        let early = flow.didPassOn(step - 1)
        #expect(early == nil)
        let text = flow.didPassOn(1)
        #expect(text == "credit \(step)")
        _ = try flow.receive(.binary(bytes(step)))
        #expect(throws: ForwardFlow.Violation.tooMuch) { _ = try flow.receive(.binary([1])) }
    }

    @Test func nothingButCreditFollowsTheEnd() throws {
        var flow = ForwardFlow()
        flow.didSend(5)
        let received = try flow.receive(.text("end"))
        #expect(received == .end)
        #expect(flow.isEnded)
        #expect(throws: ForwardFlow.Violation.afterTheEnd) { _ = try flow.receive(.binary([1])) }
        #expect(throws: ForwardFlow.Violation.afterTheEnd) { _ = try flow.receive(.text("end")) }
        let credit = try flow.receive(.text("credit 5"))
        #expect(credit == .credit)
    }

    @Test(arguments: [
        "credit", "credit ", "credit -1", "credit +5", "credit 4", "credit 11", "credit 5 ", "credit 0x6",
        "credit 99999999999999999999", "credit ６", "end ", "END", "", "refused", "hello",
    ])
    func whatMeansNothingIsAViolation(_ text: String) throws {
        var flow = ForwardFlow()
        flow.didSend(10)
        _ = try flow.receive(.text("credit 5"))
        #expect(throws: ForwardFlow.Violation.self) { _ = try flow.receive(.text(text)) }
        #expect(flow.room == window - 5 && !flow.isEnded)
    }

    @Test func aRefusalIsCutShort() throws {
        var flow = ForwardFlow()
        let received = try flow.receive(.text("refused no"))
        #expect(received == .refused("no"))
        let long = try flow.receive(.text("refused " + String(repeating: "x", count: 100_000)))
        #expect(long == .refused(String(repeating: "x", count: 300)))
    }

    @Test func linesAreHeldBackAndCounted() {
        var held = RareLines.Held()
        let shown = (1...4).map { held.add("line \($0)") }
        #expect(shown == [true, false, false, false])
        let first = held.tick()
        #expect(first == "line 4 (3 such lines)")
        let another = held.add("line 5")
        #expect(!another)
        let second = held.tick()
        #expect(second == "line 5")
        let third = held.tick()
        #expect(third == nil)
        let again = held.add("line 6")
        #expect(again)
    }

    @Test func descriptorsStayFree() {
        #expect(ForwardedConnections.limit(descriptorLimit: 1 << 20, usedDescriptorCount: 20) == 256)
        #expect(ForwardedConnections.limit(descriptorLimit: 60, usedDescriptorCount: 20) == 4)
        #expect(ForwardedConnections.limit(descriptorLimit: 30, usedDescriptorCount: 20) == 0)
        let connections = ForwardedConnections(limit: 2)
        let entered = (0..<3).map { _ in connections.enter() }
        #expect(entered == [true, true, false])
        connections.leave()
        let again = connections.enter()
        #expect(again)
    }
}
