@testable import SCTP

enum SCTPLeftovers {
    /// Associations that the stack still knows.
    static var count: Int { SCTPStack.shared.associationCount }
}
