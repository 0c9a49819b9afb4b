import Glibc
import NIOCore
import NIOPosix

/// Why a connection could not be made, in a user's words.
enum ConnectFailure {
    static func words(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            var reasons: [String] = []
            for failure in error.connectionErrors {
                let reason = words(failure.error)
                if !reasons.contains(reason) { reasons.append(reason) }
            }
            if reasons.isEmpty { reasons = [error.dnsAError ?? error.dnsAAAAError].compactMap { $0.map(words) } }
            return reasons.isEmpty ? "it failed" : reasons.joined(separator: "; ")
        case let error as IOError: return unsafe String(cString: strerror(error.errnoCode)).lowercased()
        case is SocketAddressError.UnknownHost, is SocketAddressError.FailedToParseIPByteBuffer:
            return "no address is known for that name"
        case ChannelError.connectTimeout(let amount):
            return "no answer within \(amount.nanoseconds / 1_000_000_000) s"
        default: return "\(error)"
        }
    }
}
