internal import Glibc

/// Folders that have another name here than in the offer, since something else has theirs.
extension ReceiverDisk {
    /// Names as the file system compares them, byte by byte.
    private static func key(_ path: some Sequence<String>) -> [UInt8] { Array(path.joined(separator: "/").utf8) }

    /// Where a path of the offer leads here.
    func placed(_ path: some Collection<String>) -> [String] {
        guard !otherNames.isEmpty else { return Array(path) }
        var offered: [String] = []
        return path.map { name in
            offered.append(name)
            return otherNames[Self.key(offered)] ?? name
        }
    }

    /// The last component of an entry's path here.
    func name(_ index: Int) -> String {
        let path = entries[index].path
        return (otherNames.isEmpty ? nil : otherNames[Self.key(path)]) ?? path.last ?? ""
    }

    /// Whether an entry is in, or is, a folder of another name, which this transfer made.
    func isElsewhere(_ index: Int) -> Bool {
        !otherNames.isEmpty && placed(entries[index].path) != entries[index].path
    }

    /// Takes up the names that an earlier run gave.
    func takeUpNames(of journal: Journal) {
        for (index, number) in journal.numbers
        where entries.indices.contains(index) && entries[index].kind == .directory && Self.numbers.contains(number) {
            let path = entries[index].path
            otherNames[Self.key(path)] = Self.numbered(path.last ?? "", number)
        }
    }

    /// Makes a folder by the first name with a number that is free, and remembers which.
    func makeNumberedDirectory(
        _ index: Int,
        in parent: OpenFile,
        _ journal: inout Journal
    ) throws(TransferError) {
        let path = entries[index].path
        for number in Self.numbers {
            let other = Self.numbered(path.last ?? "", number)
            // What is offered by that name will want it.
            if machine.manifest.contains(path.dropLast() + [other]) { continue }
            if unsafe mkdirat(parent.descriptor, other, 0o700) == 0 {
                try journal.append([
                    .renamed(file: index, number: number), .done(file: index, size: 0, seconds: 0),
                ])
                otherNames[Self.key(path)] = other
                return
            }
            guard errno == EEXIST else { break }
        }
        throw FileCalls.failure("make the directory", entries[index].name)
    }

    /// `report (1).pdf`.
    static func numbered(_ name: String, _ number: Int) -> String {
        let bytes = Array(name.utf8)
        guard let dot = bytes.lastIndex(of: UInt8(ascii: ".")), dot > 0 else { return "\(name) (\(number))" }
        return String(decoding: bytes[..<dot], as: UTF8.self) + " (\(number))"
            + String(decoding: bytes[dot...], as: UTF8.self)
    }

    /// What is tried for a name that is taken.
    static let numbers = 1...999
}
