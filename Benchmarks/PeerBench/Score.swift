/// What was right of what was expected in one stage of a check.
struct Score {
    let name: String
    private var right = 0
    private var expected = 0

    init(_ name: String) { self.name = name }

    mutating func count(_ isRight: Bool, _ otherwise: @autoclosure () -> String) {
        expected += 1
        if isRight { right += 1 } else { Wire.note("\(name): \(otherwise())") }
    }

    /// Counts a channel as the peer sees it.
    mutating func compare(_ seen: ChannelDescription?, with wanted: ChannelDescription) {
        let differences = seen?.differences(from: wanted) ?? ["it is not there"]
        count(differences.isEmpty, "id \(wanted.id ?? -1): \(differences.joined(separator: ", "))")
    }

    func report() -> Bool {
        Wire.result([(name, Double(right)), (name + "_expected", Double(expected))])
        return right == expected
    }
}
