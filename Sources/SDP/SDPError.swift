/// Why text is no usable session description.
package enum SDPError: Error, Hashable, Sendable, CustomStringConvertible {
    case tooLarge(limit: Int)
    /// The line, from 1, and what is wrong with it.
    case malformed(line: Int, String)
    case tooMany(line: Int, String)

    /// The line at which reading stopped, from 1; nil if it is not one line's fault.
    package var line: Int? {
        switch self {
        case .tooLarge: nil
        case .malformed(let line, _), .tooMany(let line, _): line
        }
    }

    package var description: String {
        switch self {
        case .tooLarge(let limit): "the description is larger than \(limit) bytes"
        case .malformed(let line, let what): "line \(line): \(what)"
        case .tooMany(let line, let what): "line \(line): too many \(what)"
        }
    }
}
