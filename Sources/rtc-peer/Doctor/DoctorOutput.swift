import PeerConnection
import STUN
import SansIO
import TerminalUI

/// The report as a table for people and as lines of JSON for programs.
struct DoctorOutput {
    let report: DoctorReport

    /// One line for each thing looked at, then what to fix.
    var table: String {
        var rows: [(String, String, String)] = []
        for address in report.addresses {
            let notes = [address.isDefault ? "default" : nil, address.isUsed ? nil : "left out by --interface"]
            let remark = ([address.interfaceName] + notes.compactMap { $0 }).joined(separator: ", ")
            rows.append(("address", "\(address.ip)", remark))
        }
        if report.leftOutAddressCount > 0 {
            let text = "\(report.leftOutAddressCount) more"
            rows.append(("address", text, "not used: too many; default routes come first"))
        }
        if report.addresses.isEmpty { rows.append(("address", "none", "")) }
        for trial in report.trials {
            let outcome = trial.time.map(Amount.latency) ?? "fails"
            let detail = trial.address.map { (trial.isRelay ? "relays at " : "sees ") + $0 } ?? trial.problem ?? ""
            rows.append((trial.isRelay ? "TURN" : "STUN", trial.url, "\(outcome)  \(detail)"))
        }
        if report.trials.isEmpty {
            rows.append(("servers", "none", "none was named: --ice-server stun:HOST, turn:HOST"))
        }
        rows.append(("NAT", report.natKind?.rawValue ?? Self.unmeasured, report.gap("nat") ?? behaviourText))
        let udp = report.isUDPBlocked.map { $0 ? "blocked" : "works" }
        rows.append(("UDP", udp ?? Self.unmeasured, report.gap("udpBlocked") ?? ""))
        let size = report.findings?.pathMTU.map { "\($0) bytes" }
        let remark = report.gap("pathMTU") ?? "the largest packet tried that arrives whole"
        rows.append(("path MTU", size ?? Self.unmeasured, remark))
        rows.append(("mDNS", report.hasMulticastDNS ? "works" : "does not work", "names in place of addresses"))
        rows.append(("container", report.machine.container ?? "none", ""))
        rows.append(("clock", clockText, report.gap("clockKept") ?? ""))
        if let screen = report.screen { rows.append(("screen", screen.way ?? "none", screen.detail)) }
        let first = rows.map(\.0.count).max() ?? 0
        let second = min(rows.map(\.1.count).max() ?? 0, 46)
        let lines = rows.map { row in
            let line = pad(row.0, first) + "  " + pad(row.1, second) + "  " + row.2
            return TerminalText.printable(String(line.reversed().drop { $0 == " " }.reversed()))
        }
        let advice = report.advice.isEmpty ? ["Nothing to fix."] : report.advice.map { "To fix: \($0)" }
        return (lines + [""] + advice.map { TerminalText.printable($0) }).joined(separator: "\n") + "\n"
    }

    private func pad(_ text: String, _ count: Int) -> String {
        text + String(repeating: " ", count: max(0, count - text.count))
    }

    /// What stands in the place of what could not be found out.
    private static let unmeasured = "not measured"

    private var behaviourText: String {
        let mapping = report.findings?.mapping?.rawValue
        let filtering = report.findings?.filtering?.rawValue
        let reason = report.gap("mapping") ?? report.gap("filtering")
        if mapping == nil, filtering == nil, let reason { return "mapping and filtering not measured: \(reason)" }
        let words = "mapping \(mapping ?? Self.unmeasured), filtering \(filtering ?? Self.unmeasured)"
        return words + (reason.map { ": \($0)" } ?? "")
    }

    private var clockText: String {
        switch report.machine.isClockKept {
        case true?: "kept right"
        case false?: "runs free"
        case nil: Self.unmeasured
        }
    }

    /// The same in lines of JSON; docs/JSON-LINES.md.
    var lines: [JSONLine] {
        var lines: [JSONLine] = []
        for address in report.addresses {
            var line = JSONLine(event: "address")
            line["interface"] = .string(address.interfaceName)
            line["address"] = .string("\(address.ip)")
            line["default"] = .bool(address.isDefault)
            line["used"] = .bool(address.isUsed)
            lines.append(line)
        }
        for trial in report.trials {
            var line = JSONLine(event: "server")
            line["url"] = .string(trial.url)
            line["transport"] = .string(trial.transport.rawValue)
            line["works"] = .bool(trial.works)
            line["milliseconds"] = trial.time.map { .number(Double($0.wholeNanoseconds / 1_000) / 1_000) }
            line["address"] = trial.address.map { .string($0) }
            line["problem"] = trial.problem.map { .string($0) }
            if trial.isExtra { line["extra"] = true }
            lines.append(line)
        }
        var network = JSONLine(event: "network")
        network["nat"] = report.natKind.map { .string($0.rawValue) }
        network["mapping"] = report.findings?.mapping.map { .string($0.rawValue) }
        network["filtering"] = report.findings?.filtering.map { .string($0.rawValue) }
        network["mappedAddress"] = report.findings?.mapped.map { .string($0.description) }
        network["udpBlocked"] = report.isUDPBlocked.map { .bool($0) }
        network["pathMTU"] = report.findings?.pathMTU.map { .integer(Int64($0)) }
        network["mdns"] = .bool(report.hasMulticastDNS)
        network["unmeasured"] = object(report.networkGaps)
        lines.append(network)
        var machine = JSONLine(event: "machine")
        machine["container"] = report.machine.container.map { .string($0) }
        machine["clockKept"] = report.machine.isClockKept.map { .bool($0) }
        machine["screen"] = report.screen?.way.map { .string($0) }
        machine["time"] = .integer(Int64(report.machine.secondsSince1970))
        machine["unmeasured"] = object(report.machineGaps)
        lines.append(machine)
        var advice = JSONLine(event: "advice")
        advice["fix"] = .array(report.advice.map { .string($0) })
        lines.append(advice)
        return lines
    }

    private func object(_ gaps: [DoctorReport.Gap]) -> JSONLine.Value? {
        gaps.isEmpty ? nil : .object(gaps.map { JSONLine.Member(name: $0.name, value: .string($0.reason)) })
    }
}
