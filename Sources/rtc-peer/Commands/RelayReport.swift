import TURNServer
import TURNService
import TerminalUI

/// What the TURN server did since the report before.
struct RelayReport: Equatable {
    var allocationCount: Int
    var statistics: TURNServerStatistics
    private var before = TURNServerStatistics()

    init(allocationCount: Int, statistics: TURNServerStatistics, since before: TURNServerStatistics) {
        self.allocationCount = allocationCount
        self.statistics = statistics
        self.before = before
    }

    var hasNews: Bool { statistics != before }

    /// Reasons for which something was dropped since then, the most frequent first.
    private var drops: [(name: String, count: Int)] {
        zip(statistics.dropped.byReason, before.dropped.byReason).map { ($0.name, $0.count - $1.count) }
            .filter { $0.count > 0 }.sorted { ($1.count, $0.name) < ($0.count, $1.name) }
    }

    /// A line for people; nil unless something was dropped.
    var warning: String? {
        guard !drops.isEmpty else { return nil }
        let reasons = drops.map { "\($0.count) \($0.name)" }.joined(separator: ", ")
        return "TURN dropped: \(reasons) (\(allocationCount) allocations; docs/TURN.md says what that means)"
    }

    var line: JSONLine {
        func since(_ count: KeyPath<TURNServerStatistics, Int>) -> JSONLine.Value {
            .integer(Int64(statistics[keyPath: count] - before[keyPath: count]))
        }
        var line = JSONLine(event: "relay")
        line["allocations"] = .integer(Int64(allocationCount))
        line["requests"] = since(\.requests)
        line["errors"] = since(\.errors)
        line["datagramsToPeers"] = since(\.datagramsToPeers)
        line["datagramsToClients"] = since(\.datagramsToClients)
        line["dropped"] = .object(drops.map { .init(name: $0.name, value: .integer(Int64($0.count))) })
        return line
    }
}

extension RelayServer {
    /// Reports once a minute, and at the end, what was relayed and dropped, if anything came.
    ///
    /// - Parameter tell: called with each report.
    func report(to tell: (RelayReport) -> Void) async {
        var before = TURNServerStatistics()
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(60))
            before = await report(since: before, to: tell)
        }
    }

    /// Reports what came since then, if anything did.
    ///
    /// - Returns: what is known now.
    func report(since before: TURNServerStatistics, to tell: (RelayReport) -> Void) async -> TURNServerStatistics {
        let report = RelayReport(
            allocationCount: await service.allocationCount(),
            statistics: await service.statistics(),
            since: before
        )
        if report.hasNews { tell(report) }
        return report.statistics
    }
}
