import Glibc
import JSON
import PeerConnection

/// `bursts COUNT`: a check for Interop, over a network that loses packets.
///
/// On a channel of each kind, which is closed at once, either side sends COUNT messages. Of reliable channels all come,
/// none comes twice, and on ordered ones they come in order; on the others, the connection goes on without those that
/// were given up.
struct ChannelBursts {
    let count: Int

    func run(role: String) async throws {
        let connection = try RTCPeerConnection(configuration: PeerBench.configuration())
        var events = connection.events.makeAsyncIterator()
        try await EchoPeer.connect(connection, role: role)
        let start = Meter.now()
        do {
            var sent = Score("sent")
            var received = Score("received")
            var lost = (sent: 0, received: 0)
            for (index, options) in RTCDataChannelInit.allKinds.enumerated() {
                Wire.note("at \(Int(Meter.now() - start)) s: kind \(index), to the peer")
                let label = "burst \(index)"
                let came = try await send(label, options, connection, &sent)
                lost.sent += count - came.count
                judge(came, label, options, &sent)
                Wire.note("at \(Int(Meter.now() - start)) s: kind \(index), from the peer")
                guard let came = try await receive("burst back \(index)", options, &events) else { continue }
                await checkClosed(&received)
                lost.received += count - came.count
                judge(came, label, options, &received)
            }
            Wire.result(["sent_lost": Double(lost.sent), "received_lost": Double(lost.received)])
            let areRight = [sent.report(), received.report()].allSatisfy(\.self)
            await EchoPeer.end()
            exit(areRight ? 0 : 1)
        } catch {
            Wire.note("ended: \(error)")
            exit(1)
        }
    }

    /// Sends a burst; the numbers of the messages that the peer got, in its order.
    private func send(
        _ label: String,
        _ options: RTCDataChannelInit,
        _ connection: RTCPeerConnection,
        _ score: inout Score
    ) async throws -> [Int] {
        let channel = try connection.createDataChannel(label, options: options)
        for number in 0..<count { try await channel.sendWhenReady(Self.message(number)) }
        channel.close()
        await channel.closed()
        await checkClosed(&score)
        let numbers = try await EchoPeer.ask("received", .string(label), for: "received")
        return (numbers.array ?? []).map { $0.integer ?? -1 }
    }

    /// Has the peer send a burst; the numbers of the messages that came.
    ///
    /// Nil if it cannot make such a channel.
    private func receive(
        _ label: String,
        _ options: RTCDataChannelInit,
        _ events: inout EchoPeer.Events
    ) async throws -> [Int]? {
        let wanted = ChannelDescription(label: label, options: options)
        let argument: JSONValue = .array([wanted.json, .number(Double(count))])
        guard let (channel, _) = try await EchoPeer.open("burst", argument, wanted, &events) else { return nil }
        var numbers: [Int] = []
        for await message in channel.messages {
            guard case .text(let text) = message, let number = Int(text.prefix { $0 != " " }),
                (0..<count).contains(number), Self.message(number) == text
            else {
                numbers.append(-1)
                continue
            }
            numbers.append(number)
        }
        return numbers
    }

    private func checkClosed(_ score: inout Score) async {
        let left = await EchoPeer.descriptions(0)
        score.count(left.isEmpty, "the peer still has \(left.values.map(\.json.text))")
    }

    private func judge(_ numbers: [Int], _ label: String, _ options: RTCDataChannelInit, _ score: inout Score) {
        let areWhole = Set(numbers).count == numbers.count && !numbers.contains { $0 < 0 || $0 >= count }
        let areInOrder = !options.ordered || numbers == numbers.sorted()
        let areAll = !options.isReliable || numbers.count == count
        score.count(areWhole && areInOrder && areAll, "\(label) (\(options)): \(numbers)")
    }

    /// A message that takes up to three packets.
    private static func message(_ number: Int) -> String {
        "\(number) " + String(repeating: "x", count: number * 97 % 3_000)
    }
}
