import ArgumentParser
import PeerConnection
import TerminalUI

/// `rtc-peer doctor`: what of the network and the machine helps connections, and what hinders them.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Looks at the network: addresses, NAT, servers, path; says what to fix.",
        discussion: """
            The exit status is 0 if there is nothing to fix, and 1 if there is: the last lines say what.

            Examples:
              rtc-peer doctor --ice-server stun:stun.example.org
              rtc-peer doctor --ice-server turns:turn.example.org:443 --turn-user anna --turn-password secret
              rtc-peer doctor --json | jq 'select(.event == "advice")'
            """
    )

    @OptionGroup var ice: ICEOptions

    @Option(
        name: .customLong("interface"),
        help: ArgumentHelp(
            "Look as a call with this --interface would; may be repeated. Example: --interface '!docker*'",
            valueName: "NAME"
        ),
        transform: { try RTCNetworkRule($0) }
    )
    var networkRules: [RTCNetworkRule] = []

    @OptionGroup var output: OutputOptions

    func run() async throws {
        output.startLogging()
        var report = DoctorReport()
        report.addresses = NetworkDiagnosis.addresses(rules: networkRules)
        report.leftOutAddressCount = NetworkDiagnosis.leftOutCount(rules: networkRules)
        report.machine = .now()
        async let screen = ScreenWay.find()
        async let multicast = NetworkDiagnosis.isMulticastDNSHeard()
        (report.trials, report.findings) = await ServerTrials.run(
            servers: ice.servers,
            authorities: ice.turnAuthorities
        )
        report.hasMulticastDNS = await multicast
        report.screen = await screen
        let shown = DoctorOutput(report: report)
        let text = output.json ? shown.lines.map(\.text).joined() : shown.table
        Terminal.standardOutput.write(text)
        if report.exitCode != .success { throw report.exitCode }
    }
}
