import ArgumentParser
internal import COpenSSL

@main
enum Program {
    static func main() async {
        StandardDescriptors.fill()
        copenssl_outlive_exit()
        do {
            var command = try RTCPeerCommand.parsed(nil)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            RTCPeerCommand.exit(withError: error)
        }
    }
}

/// The program: its subcommands and what they share.
struct RTCPeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rtc-peer",
        abstract: "Calls browsers and other peers: picture, sound, text and files, encrypted, from peer to peer.",
        discussion: """
            Examples:
              rtc-peer call                                      prints an address: open it in a browser
              rtc-peer call --listen 0.0.0.0:8443 --tls          for a phone in the same network
              rtc-peer call --server http://host:8080 --room tea joins a room of another server
              rtc-peer send film.mp4 photos/                     prints a code for the other machine
              rtc-peer receive 4821-amber-otter-lemon            takes what that one sends
              rtc-peer serve --listen 0.0.0.0:8080               is that server
              rtc-peer devices --try                             tries camera, microphone and loudspeaker
              rtc-peer snapshot me.png                           saves a picture of the camera
              rtc-peer doctor --ice-server stun:stun.example.org looks for what hinders connections
            """,
        version: "0.1.0",
        subcommands: [
            CallCommand.self, SendCommand.self, ReceiveCommand.self, PipeCommand.self, ForwardCommand.self,
            ServeCommand.self, DevicesCommand.self, SnapshotCommand.self, DoctorCommand.self,
        ]
    )
}

extension RTCPeerCommand {
    /// Whether a command says what it lacks.
    @TaskLocal static var asksForMissing = true

    /// The command that arguments stand for; an option that nobody knows is told before what is missing.
    ///
    /// The parser looks for unknown options last, when a command was content with the others.
    ///
    /// - Parameter arguments: nil takes those of the process.
    /// - Returns: the command, ready to run.
    /// - Throws: what is wrong with the arguments, for `exit(withError:)`.
    static func parsed(_ arguments: [String]?) throws -> any ParsableCommand {
        do {
            return try parseAsRoot(arguments)
        } catch {
            _ = try $asksForMissing.withValue(false) { try parseAsRoot(arguments) }
            throw error
        }
    }
}
