import Glibc
import SansIO

/// Files under `Vectors/`, found from this file's place.
enum RTPVectors {
    static func bytes(_ name: String, file: StaticString = #filePath) -> [UInt8] {
        let here = "\(file)"
        let folder = here.lastIndex(of: "/").map { here[..<$0] } ?? ""
        guard let handle = fopen("\(folder)/Vectors/\(name)", "rb") else { return [] }
        defer { fclose(handle) }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&chunk, 1, chunk.count, handle)
            guard count > 0 else { return result }
            result.append(contentsOf: chunk[..<count])
        }
    }

    static func text(_ name: String) -> String { String(decoding: bytes(name), as: UTF8.self) }

    /// The UDP payloads of a pcap file with Ethernet and IPv4 headers.
    static func datagrams(_ name: String) -> [[UInt8]] {
        let file = bytes(name)
        var datagrams: [[UInt8]] = []
        var offset = 24
        while offset + 16 <= file.count {
            let length = (0..<4).reduce(0) { $0 | Int(file[offset + 8 + $1]) << (8 * $1) }
            offset += 16
            guard length > 42, offset + length <= file.count else { break }
            datagrams.append(Array(file[(offset + 42)..<(offset + length)]))
            offset += length
        }
        return datagrams
    }

    /// Changes some bytes, cuts or lengthens the message; as hostile as luck makes it.
    static func mutate(_ bytes: [UInt8], _ random: RandomSource) -> [UInt8] {
        var result = bytes
        for _ in 0..<Int(random.next() % 6) where !result.isEmpty {
            let place = Int(random.next() % UInt64(min(result.count, 64)))
            switch random.next() % 4 {
            case 0: result[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: result[place] ^= 1 << UInt8(random.next() % 8)
            case 2: result[place] = 0xFF
            default: result[place] = 0
            }
        }
        switch random.next() % 6 {
        case 0: result.removeLast(Int(random.next() % UInt64(result.count + 1)))
        case 1: result += (0..<Int(random.next() % 40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        default: break
        }
        return result
    }
}
