import FileTransfer
import Testing

@Suite struct WholeTransfers {
    @Test(.timeLimit(.minutes(10))) func oneFileArrives() async throws {
        let (here, there) = (try ScratchDirectory(), try ScratchDirectory())
        var random = SplitMix(seed: 1)
        let bytes = random.bytes(3_500_000)
        let path = try here.write("a.bin", bytes)
        let run = await TransferRun.run(
            FileSender(paths: [path]),
            FileReceiver(target: there.path),
            MemoryChannel.pair()
        )
        let sent = try run.sender.get()
        let received = try run.receiver.get()
        #expect(sent.files == 1 && sent.bytes == bytes.count && sent.failures.isEmpty)
        #expect(received.files == 1 && received.bytes == bytes.count && received.failures.isEmpty)
        #expect(there.names() == ["a.bin"])
        #expect(there.read("a.bin") == bytes)
    }
}
