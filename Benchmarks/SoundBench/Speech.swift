import Glibc

/// Speech by flite, which is the same on every machine.
enum Speech {
    static let far = """
        The train to the coast leaves at a quarter past seven, and the last one comes back before midnight. \
        We packed bread, cheese and a few apples, so nobody will be hungry on the way. \
        Please bring the blue folder that lies on the shelf beside the window. \
        Yesterday it rained so hard that the bridge was closed until the evening. \
        A small boat drifted slowly past the lighthouse while the fog was rising. \
        My sister plays the violin in an orchestra, and on Fridays they rehearse until ten. \
        The garden needs water twice a week, but the roses can wait a little longer. \
        Could you send me the numbers again, since I have lost the page with the second table? \
        Eight wooden chairs were standing around the table, and one of them was broken. \
        They measured the depth of the lake in three places and found it was nearly forty metres. \
        If the weather stays like this, we should finish the roof by the end of the month. \
        He opened the letter with a knife, read it twice, and put it back without a word.
        """
    static let near = """
        I think we should begin with the second question, because the first one takes more time. \
        The office on the third floor has a better view, and it is quieter in the afternoon. \
        Nobody knew who had left the lamp burning all night long. \
        Let us meet at the corner near the old theatre, shortly after five.
        """

    static var isInstalled: Bool { access("/usr/bin/flite", X_OK) == 0 }

    /// A text in one of flite's voices of 16 kHz, at 48 kHz; nil without flite.
    static func voice(_ name: String, _ text: String) -> [Float]? {
        guard isInstalled else { return nil }
        // The text is ours and has no quotes.
        let command = "flite -voice \(name) -t \"\(text)\" -o /dev/stdout 2>/dev/null"
        guard let pipe = popen(command, "r") else { return nil }
        defer { pclose(pipe) }
        let samples = Raw.read(pipe)
        guard samples.count > 22 + 16_000 else { return nil }
        // A header of 44 bytes, then samples; flite writes nothing else.
        return tripled(samples[22...].map { Float($0) / 32_768 })
    }

    /// 16 kHz at 48 kHz, by a filter of 48 samples a side.
    private static func tripled(_ sound: [Float]) -> [Float] {
        let reach = 48
        let filter = (-reach...reach).map { offset -> Float in
            let place = Double(offset) / 3
            let sinc = offset == 0 ? 1 : sin(.pi * place) / (.pi * place)
            return Float(sinc * (0.5 + 0.5 * cos(.pi * Double(offset) / Double(reach + 1))))
        }
        var result = [Float](repeating: 0, count: sound.count * 3)
        for (index, sample) in sound.enumerated() where sample != 0 {
            for (number, gain) in filter.enumerated() {
                let target = 3 * index + number - reach
                if result.indices.contains(target) { result[target] += sample * gain }
            }
        }
        return result
    }
}
