import ArgumentParser
import PeerConnection
import STUN
import SansIO
import TerminalUI
import Testing

@testable import rtc_peer

/// What `rtc-peer doctor` makes of what it found.
@Suite struct DoctorAdvice {
    private func report(_ change: (inout DoctorReport) -> Void = { _ in }) -> DoctorReport {
        var report = DoctorReport()
        report.addresses = [.init(interfaceName: "eth0", ip: IPAddress(v4: 0xC0A8_0105), isDefault: true)]
        report.trials = [
            .init(url: "stun:a:3478", isRelay: false, transport: .udp, time: .milliseconds(20)),
            .init(url: "turns:b:443?transport=tcp", isRelay: true, transport: .tls, time: .milliseconds(80)),
        ]
        var findings = NATFindings()
        findings.mapped = TransportAddress(IPAddress(v4: 0xCB00_7105), port: 40_000)
        findings.mapping = .endpointIndependent
        findings.filtering = .addressAndPortDependent
        findings.pathMTU = 1_500
        report.findings = findings
        report.hasMulticastDNS = true
        report.machine = MachineFacts(container: nil, isClockKept: true, secondsSince1970: 1_800_000_000)
        change(&report)
        return report
    }

    @Test func aGoodNetworkNeedsNothing() {
        #expect(report().advice.isEmpty)
        #expect(report().natKind == .portRestrictedCone)
        #expect(DoctorOutput(report: report()).table.hasSuffix("\n\nNothing to fix.\n"))
    }

    @Test func theExitStatusSaysWhetherThereIsSomethingToFix() {
        #expect(report().exitCode == .success)
        #expect(report { $0.hasMulticastDNS = false }.exitCode == .failure)
        #expect(DoctorCommand.helpMessage(columns: 1_000).contains("The exit status is 0 if there is nothing to fix"))
    }

    private func row(_ name: String, _ report: DoctorReport) -> String? {
        DoctorOutput(report: report).table.split(separator: "\n").map(String.init).first { $0.hasPrefix(name + " ") }
    }

    @Test func whatWasNotMeasuredIsShownSoWithTheReason() throws {
        #expect(report().networkGaps.isEmpty && report().machineGaps.isEmpty)
        let alone = report {
            $0.trials = []
            $0.findings = nil
            $0.machine.isClockKept = nil
        }
        for name in ["NAT", "UDP", "path MTU"] {
            let line = try #require(row(name, alone))
            #expect(line.contains("  not measured ") && line.hasSuffix("no server was named: --ice-server stun:HOST"))
        }
        #expect(row("servers", alone)?.contains("none was named") == true)
        #expect(row("clock", alone)?.contains("not measured  ") == true)
        let text = DoctorOutput(report: alone).lines.map(\.text).joined()
        #expect(text.contains(#""unmeasured":{"nat":"no server was named"#))
        #expect(text.contains(#""unmeasured":{"clockKept":"the kernel does not say"#))
        let silent = report {
            $0.trials[0].time = nil
            $0.findings = NATFindings()
        }
        #expect(row("NAT", silent)?.hasSuffix("no server answers over UDP") == true)
        #expect(row("UDP", silent)?.contains("blocked") == true)
        var onlyTLS = silent
        onlyTLS.trials.removeFirst()
        #expect(row("NAT", onlyTLS)?.contains("no server was named by UDP") == true)
        // A server of one address tells neither mapping nor filtering.
        var simple = report {
            $0.findings?.mapping = nil
            $0.findings?.filtering = nil
        }
        #expect(row("NAT", simple)?.contains("mapping and filtering not measured: the server has no second") == true)
        simple.findings?.mapping = .endpointIndependent
        simple.findings?.canDiscover = true
        #expect(
            row("NAT", simple)?.contains("mapping endpoint-independent, filtering not measured: the server's") == true
        )
        #expect(simple.networkGaps.map(\.name) == ["filtering"])
    }

    @Test func addressesThatAreLeftOutAreShownSo() {
        let found = report {
            $0.addresses.append(
                .init(interfaceName: "docker0", ip: IPAddress(v4: 0xAC11_0001), isDefault: false, isUsed: false)
            )
        }
        #expect(found.advice.isEmpty)
        let line = DoctorOutput(report: found).table.split(separator: "\n").first { $0.contains("172.17.0.1") }
        #expect(line?.hasSuffix("  docker0, left out by --interface") == true)
        let none = report { $0.addresses[0].isUsed = false }
        #expect(none.advice.first?.contains("--interface") == true)
    }

    @Test func theNATHasItsNameByMappingAndFiltering() {
        let cases: [(NATDependence?, NATDependence?, DoctorReport.NATKind)] = [
            (.endpointIndependent, .endpointIndependent, .fullCone),
            (.endpointIndependent, .addressDependent, .restrictedCone),
            (.endpointIndependent, nil, .cone),
            (.addressDependent, .addressDependent, .symmetric),
            (.addressAndPortDependent, nil, .symmetric),
            (.dependent, nil, .symmetric),
            (nil, nil, .some),
        ]
        for (mapping, filtering, kind) in cases {
            let found = report {
                $0.findings?.mapping = mapping
                $0.findings?.filtering = filtering
            }
            #expect(found.natKind == kind)
        }
        let own = report { $0.findings?.mapped = TransportAddress(IPAddress(v4: 0xC0A8_0105), port: 5) }
        #expect(own.natKind == .firewall)
        var open = own
        open.findings?.filtering = .endpointIndependent
        #expect(open.natKind == DoctorReport.NATKind.none)
        #expect(report { $0.findings?.mapped = nil }.natKind == nil)
    }

    @Test func blockedUDPIsToldFromDeadServers() {
        let blocked = report {
            $0.trials[0].time = nil
            $0.findings = NATFindings()
        }
        #expect(blocked.isUDPBlocked == true)
        #expect(blocked.advice.count == 1 && blocked.advice[0].contains("rely on turns:b:443"))
        var dead = blocked
        dead.trials[1].time = nil
        #expect(dead.isUDPBlocked == nil)
        #expect(dead.advice.first?.contains("No server answers") == true)
        // A relay that refuses by UDP has answered by UDP.
        var refused = blocked
        refused.trials[0].problem = "refuses: 401 Unauthorized"
        refused.trials[0].isUnauthorized = true
        #expect(refused.isUDPBlocked == false)
        #expect(refused.advice.first?.contains("--turn-password") == true)
    }

    @Test func aSymmetricNATNeedsARelay() {
        let symmetric = report { $0.findings?.mapping = .addressAndPortDependent }
        #expect(symmetric.advice.isEmpty, "there is a relay")
        var alone = symmetric
        alone.trials.removeLast()
        #expect(alone.advice.first?.contains("symmetric") == true)
    }

    @Test func theGravestTwoAreTold() {
        let bad = report {
            $0.trials = []
            $0.findings = nil
            $0.hasMulticastDNS = false
            $0.machine = MachineFacts(container: "docker", isClockKept: false, secondsSince1970: 86_400)
        }
        #expect(bad.advice.count == 2)
        #expect(bad.advice[0].contains("--ice-server") && bad.advice[1].contains("--network host"))
        #expect(report { $0.addresses = [] }.advice.count == 1)
        #expect(report { $0.machine.secondsSince1970 = 86_400 }.advice.first?.contains("clock") == true)
        #expect(report { $0.findings?.pathMTU = 1_200 }.advice.first?.contains("1200 bytes vanish") == true)
    }

    @Test func linesOfJSONSayTheSame() {
        let text = DoctorOutput(report: report()).lines.map(\.text).joined()
        let server = #"{"event":"server","url":"stun:a:3478","transport":"udp","works":true,"milliseconds":20.0}"#
        #expect(text.contains(server))
        #expect(text.contains(#""nat":"port-restricted cone""#) && text.contains(#""udpBlocked":false,"pathMTU":1500"#))
        #expect(text.hasSuffix(#"{"event":"advice","fix":[]}"# + "\n"))
    }

    @Test func theWayOfTheScreenIsTold() {
        let portal = DoctorOutput(report: report { $0.screen = ScreenWay(way: "portal", detail: "asks") })
        #expect(portal.table.contains("screen") && portal.table.contains("portal"))
        #expect(portal.lines.map(\.text).joined().contains(#""screen":"portal""#))
        let none = DoctorOutput(report: report { $0.screen = ScreenWay(way: nil, detail: "no\u{1B}[2J display") })
        #expect(none.table.contains("none") && none.table.contains("display") && !none.table.contains("\u{1B}"))
        #expect(!none.lines.map(\.text).joined().contains(#""screen""#))
    }

    @Test func whatAServerSaysCannotDrawOnTheTerminal() {
        let table = DoctorOutput(report: report { $0.trials[0].address = "\u{1B}[2J" }).table
        #expect(!table.contains("\u{1B}"))
    }

    @Test func containersAreKnownByTheirMarks() {
        #expect(MachineFacts.container(ofControlGroups: "0::/system.slice/docker-1.scope\n") == "docker")
        #expect(MachineFacts.container(ofControlGroups: "0::/init.scope\n") == nil)
    }
}
