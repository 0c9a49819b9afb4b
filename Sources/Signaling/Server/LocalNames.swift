import Glibc
import NIOCore
import NIOPosix

/// The names and addresses of this machine.
enum LocalNames {
    struct Address: Hashable {
        var text: String
        var isIPv4: Bool
        var isLoopback: Bool
    }

    /// Addresses of all interfaces that another machine could use, IPv4 first; no link-local ones.
    static var addresses: [Address] {
        let all = ((try? System.enumerateDevices()) ?? []).compactMap { device -> Address? in
            switch device.address {
            case .v4?:
                guard let text = device.address?.ipAddress else { return nil }
                return Address(text: text, isIPv4: true, isLoopback: isLoopback(text))
            case .v6?:
                guard let text = device.address?.ipAddress, !text.hasPrefix("fe80") else { return nil }
                return Address(text: text, isIPv4: false, isLoopback: isLoopback(text))
            default: return nil
            }
        }
        var seen: Set<Address> = []
        let unique = all.filter { seen.insert($0).inserted }
        return unique.filter(\.isIPv4) + unique.filter { !$0.isIPv4 }
    }

    static func isLoopback(_ address: String) -> Bool {
        address.hasPrefix("127.") || address == "::1" || address == "localhost"
    }

    /// The machine's own name, lower case; nil if it has none that can stand in a certificate.
    static var hostName: String? {
        var buffer = [CChar](repeating: 0, count: 256)
        guard unsafe gethostname(&buffer, buffer.count - 1) == 0 else { return nil }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let allowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        return allowed && !name.isEmpty && name.utf8.count <= 64 ? name.lowercased() : nil
    }
}
