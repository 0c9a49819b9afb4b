import ArgumentParser
import Testing

@testable import rtc_peer

/// What `rtc-peer call` says of its arguments before anything begins.
@Suite struct CallArguments {
    private func refusal(_ arguments: String...) -> String? {
        do {
            _ = try CallCommand.parse(arguments)
            return nil
        } catch {
            return CallCommand.message(for: error)
        }
    }

    @Test func aPortIsOneOfUDPs() throws {
        #expect(try CallCommand.parse(["--udp-port", "40000"]).udpPort == 40_000)
        #expect(try CallCommand.parse([]).udpPort == nil)
        #expect(try #require(refusal("--udp-port", "0")).contains("1 to 65535"))
        #expect(refusal("--udp-port", "65536") != nil)
        #expect(refusal("--udp-port", "-1") != nil)
    }

    @Test func aServerOfSTUNOverTLSIsRefusedWithWhatToUseInstead() throws {
        for url in ["stuns:stun.example.org", "STUNS:[2001:db8::1]"] {
            let text = try #require(refusal("--ice-server", url))
            #expect(text.contains("stun:") && text.contains("turns:") && text.contains("TCP"))
        }
        #expect(refusal("--ice-server", "stun:stun.example.org") == nil)
    }
}
