import ArgumentParser

@main
enum Program {
    static func main() async {
        StandardDescriptors.fill()
        await RTCPeerCommand.main()
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
            """,
        version: "0.1.0",
        subcommands: [
            CallCommand.self, SendCommand.self, ReceiveCommand.self, PipeCommand.self, ForwardCommand.self,
            ServeCommand.self, DevicesCommand.self,
        ]
    )
}
