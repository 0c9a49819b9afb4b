/// What one person tells another so that their machines find each other: `4821-amber-otter-lamp`.
///
/// The number names the room of the signalling server; the three words are the secret, 24 bits. That is little, and
/// enough: each code lets one exchange be tried, so one attacker in 16 million guesses right.
package struct TransferCode: Hashable, Sendable, CustomStringConvertible {
    /// The room: a number of four to nine digits.
    package let room: String
    /// The words, in lower case, joined by hyphens.
    package let words: String

    package var description: String { "\(room)-\(words)" }

    /// A new code.
    ///
    /// - Parameter random: gives a uniformly random number in the range; from the system's source.
    package init(random: (Range<Int>) -> Int) {
        room = String(random(1_000..<1_000_000))
        words = (0..<3).map { _ in CodeWords.all[random(0..<CodeWords.all.count)] }.joined(separator: "-")
    }

    /// A code as a person types it: any case, spaces or hyphens between its parts.
    ///
    /// - Returns: nil unless it is a number and three words of the list.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count <= 100 else { return nil }
        let parts = text.lowercased().split { $0 == "-" || $0 == " " || $0 == "\u{2010}" || $0 == "\t" }
        guard parts.count == 4, (4...9).contains(parts[0].utf8.count),
            parts[0].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            parts[1...].allSatisfy({ CodeWords.all.contains(String($0)) })
        else { return nil }
        room = String(parts[0])
        words = parts[1...].joined(separator: "-")
    }
}

/// 256 short words that are hard to confuse when spoken.
enum CodeWords {
    static let all: [String] =
        """
        acorn actor album alley amber anchor angel ankle apple april apron arrow artist aspen atlas attic
        autumn badge bagel baker bamboo banana banjo barn basil basket beach beacon beaver bell berry bison
        blanket bottle bracket branch bread breeze brick bridge brook bucket buffalo butter button cabin cactus camel
        candle canoe canyon carbon cargo carpet castle cedar cello chalk cherry chess chimney cider circle citrus
        clover cobalt cocoa comet compass copper coral cotton cousin cradle crane crayon cricket crystal cushion dagger
        daisy dancer delta desert diamond dolphin donkey dragon drawer drum eagle easel echo elbow elder ember
        engine fabric falcon feather fennel ferry fiddle finch flame flute forest fossil fountain fox frost galaxy
        garden garlic ginger giraffe glacier globe goblet gospel granite gravel guitar hammer harbor harvest hazel helmet
        heron hickory honey horizon hotel husky igloo indigo insect iron island ivory jacket jaguar jasmine jelly
        jewel jungle kayak kernel kettle kitten koala ladder lagoon lantern laurel lemon lily linen lizard lobster
        locket lotus lumber magnet mango maple marble meadow melon mirror mitten monkey mountain mural mustard napkin
        nectar needle nickel nutmeg oasis olive onion opera orange orchid otter oyster paddle palace panda paper
        parrot pebble pelican pencil pepper piano pigeon pillow pirate planet plum pocket pony poppy prairie pumpkin
        puzzle quartz quilt rabbit radish raven ribbon river robin rocket saddle saffron salmon sandal satin school
        shadow silver sketch spider spruce squash summit sunset swallow tango teapot temple thimble thunder tiger timber
        tomato topaz tulip tunnel turtle umbrella valley velvet violin walnut whistle willow window winter yogurt zebra
        """.split(whereSeparator: \.isWhitespace).map(String.init)
}
