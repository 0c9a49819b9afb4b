import ArgumentParser
import Signaling
import Testing

@testable import rtc_peer

/// What is said of `--ice-server` before anything begins, by every command that takes it.
@Suite struct ServerAddresses {
    private func refusal(_ command: any ParsableCommand.Type, _ arguments: [String]) -> String? {
        do {
            _ = try command.parseAsRoot(arguments)
            return nil
        } catch {
            return command.message(for: error)
        }
    }

    private let commands: [(any ParsableCommand.Type, [String])] = [
        (CallCommand.self, []), (ServeCommand.self, []), (DoctorCommand.self, []),
        (SendCommand.self, ["/dev/null"]), (ReceiveCommand.self, []),
    ]

    @Test(arguments: [
        ("stun:a b", "host"), ("stun:", "host"), ("turn://example.org", "host"), ("turn:x:99999", "port"),
        ("turn:x:0", "port"), ("turn:2001:db8::1", "brackets"), ("turn:x?transport=sctp", "udp"),
        ("stun:x?transport=udp", "transport="), ("turn:x?ttl=1", "transport="), ("example.org:3478", "stun:"),
        ("http://example.org", "stun:"),
    ])
    func whatIsNoAddressOfAServerIsRefusedInWords(url: String, word: String) throws {
        for (command, rest) in commands {
            let arguments = rest + ["--ice-server", "stun:good.example", "--ice-server", url]
            let text = try #require(refusal(command, arguments))
            #expect(text.contains("--ice-server \(url): "), "\(text)")
            #expect(text.contains(word), "\(text)")
            #expect(text.contains(".example.org"), "an example: \(text)")
            #expect(!text.contains("malformed") && !text.contains("unsupportedTransport"), "\(text)")
        }
    }

    /// Browsers know schemes in small letters only.
    @Test func capitalsAreTakenAndHandedOutSmall() throws {
        let command = try ServeCommand.parse([
            "--ice-server", "STUN:Stun.example.org", "--ice-server", "TURN:turn.example.org:80?Transport=TCP",
            "--ice-server", "turn:turn.example.org", "--turn-user", "anna", "--turn-password", "secret",
        ])
        let servers = command.server.makeConfiguration().iceServers
        #expect(
            servers.map(\.urls) == [
                ["stun:Stun.example.org"], ["turn:turn.example.org:80?transport=tcp"], ["turn:turn.example.org"],
            ]
        )
        #expect(servers.map(\.username) == [nil, "anna", "anna"])
    }
}
