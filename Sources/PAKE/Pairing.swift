/// Why two do not come together.
package enum PairingError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The peer does not know the code, or somebody between the two altered what they said.
    case wrongCode
    /// The peer refused, in its words.
    case refused(String)
    /// What the peer said is no step of the exchange.
    case malformed(String)
    case library(String)

    package var description: String {
        switch self {
        case .wrongCode:
            "the other side does not know the code, or somebody between the two has altered what was said"
        case .refused(let words): "the other side refuses: \(words)"
        case .malformed(let what): "the other side does not follow the exchange of keys: \(what)"
        case .library(let call): "\(call) failed"
        }
    }
}

/// How two who know a code find out that they do, and each other's DTLS certificate: three messages of text.
///
/// The initiator begins: `hello 1 KIND SHARE FINGERPRINT`, where KIND is `code` for the code that people pass on and
/// `resume` for the secret of an earlier pairing. The responder answers `share SHARE FINGERPRINT CONFIRMATION`, the
/// initiator ends with `confirm CONFIRMATION`. SHARE and CONFIRMATION are those of SPAKE2 in lower-case hexadecimal,
/// FINGERPRINT is the SHA-256 of the side's certificate, the same way; both fingerprints enter the confirmations.
/// Instead of a step either side may say `refused` and why. docs/CODES.md
///
/// Each guess at the code takes an exchange of its own: whoever accepts one per code gives an attacker one guess.
package final class Pairing {
    /// The two sides.
    package enum Role: Sendable {
        /// Begins; side A of SPAKE2.
        case initiator
        /// Answers; side B of SPAKE2.
        case responder
    }

    /// What the two share.
    package enum Secret: Hashable, Sendable {
        /// A short code that one person told the other; lives for one exchange.
        case code(String)
        /// What both kept of an earlier pairing.
        case resumption([UInt8])

        fileprivate var kind: String {
            switch self {
            case .code: "code"
            case .resumption: "resume"
            }
        }

        fileprivate var bytes: [UInt8] {
            switch self {
            case .code(let text): Array("code ".utf8) + Array(text.utf8)
            case .resumption(let bytes): Array("resume ".utf8) + bytes
            }
        }
    }

    /// What came of a message.
    package enum Step: Hashable, Sendable {
        /// To be sent; the exchange goes on.
        case send(String)
        /// The peer is the right one; `send` goes out if there is one.
        case done(Agreement, send: String?)
    }

    /// What the two know of each other in the end.
    package struct Agreement: Hashable, Sendable {
        /// SHA-256 of the peer's DTLS certificate, 32 bytes.
        package let peerFingerprint: [UInt8]
        /// What lets the two pair again without the code, 32 bytes; what they paired with, if that was no code.
        package let resumption: [UInt8]
    }

    private enum State { case idle, waiting, over }

    private let role: Role
    private let secret: Secret
    private let fingerprint: [UInt8]
    private let exchange: SPAKE2
    private var state = State.idle
    private var keys: SPAKE2.Keys?
    private var peerFingerprint: [UInt8] = []

    private static let fingerprintByteCount = 32
    /// No step is longer.
    package static let messageByteLimit = 512

    /// Prepares one exchange.
    ///
    /// - Parameters:
    ///   - role: the side.
    ///   - secret: what both know.
    ///   - fingerprint: SHA-256 of this side's DTLS certificate, 32 bytes.
    ///   - random: 48 random bytes for this exchange alone.
    /// - Throws: `.library` when OpenSSL refuses.
    package init(role: Role, secret: Secret, fingerprint: [UInt8], random: [UInt8]) throws(PairingError) {
        guard fingerprint.count == Self.fingerprintByteCount else { throw .library("a SHA-256 fingerprint") }
        self.role = role
        self.secret = secret
        self.fingerprint = fingerprint
        do throws(SPAKE2Error) {
            exchange = try SPAKE2(
                role: role == .initiator ? .a : .b,
                code: secret.bytes,
                identityA: Array("receiver".utf8),
                identityB: Array("sender".utf8),
                random: random
            )
        } catch {
            throw .library("\(error)")
        }
    }

    /// The initiator's first message; nil for the responder, and when it was taken already.
    package func begin() -> String? {
        guard role == .initiator, state == .idle else { return nil }
        state = .waiting
        return "hello 1 \(secret.kind) \(Hexadecimal.text(exchange.share)) \(Hexadecimal.text(fingerprint))"
    }

    /// Which secret a first message is about; nil if it is none.
    package static func asksToResume(_ message: String) -> Bool? {
        let fields = message.utf8.prefix(messageByteLimit).split(separator: UInt8(ascii: " "))
        guard fields.count >= 3, fields[0].elementsEqual("hello".utf8), fields[1].elementsEqual("1".utf8) else {
            return nil
        }
        if fields[2].elementsEqual("resume".utf8) { return true }
        return fields[2].elementsEqual("code".utf8) ? false : nil
    }

    /// Says in the exchange's form why it is refused.
    package static func refusal(_ words: String) -> String {
        "refused " + String(words.unicodeScalars.prefix(200).filter { $0.value >= 32 && $0.value != 127 })
    }

    /// The words of a message of the `refusal` form; nil for any other.
    package static func words(ofRefusal message: String) -> String? {
        message.hasPrefix("refused ") ? String(message.dropFirst("refused ".count).prefix(200)) : nil
    }

    /// Takes a message of the peer; any text.
    ///
    /// - Returns: what is to be done.
    /// - Throws: why the exchange is over; a message of the `refusal` form should go to the peer then.
    package func receive(_ message: String) throws(PairingError) -> Step {
        guard message.utf8.count <= Self.messageByteLimit * 2 else {
            state = .over
            throw .malformed("a message of \(message.utf8.count) bytes")
        }
        let fields = message.split(separator: " ", maxSplits: 4, omittingEmptySubsequences: false)
        if let words = Self.words(ofRefusal: message) {
            state = .over
            throw .refused(words)
        }
        do throws(PairingError) {
            switch (role, state, fields.first) {
            case (.responder, .idle, "hello"):
                guard fields.count == 5, fields[1] == "1", fields[2] == secret.kind else {
                    throw .malformed("an unknown form of “hello”")
                }
                try takeShare(fields[3], fields[4])
                state = .waiting
                return .send(
                    "share \(Hexadecimal.text(exchange.share)) \(Hexadecimal.text(fingerprint)) \(Hexadecimal.text(keys?.confirmation ?? []))"
                )
            case (.initiator, .waiting, "share"):
                guard fields.count == 4 else { throw .malformed("an unknown form of “share”") }
                try takeShare(fields[1], fields[2])
                let agreement = try verify(fields[3])
                state = .over
                return .done(agreement, send: "confirm \(Hexadecimal.text(keys?.confirmation ?? []))")
            case (.responder, .waiting, "confirm"):
                guard fields.count == 2 else { throw .malformed("an unknown form of “confirm”") }
                let agreement = try verify(fields[1])
                state = .over
                return .done(agreement, send: nil)
            default: throw .malformed("“\(fields.first?.prefix(16) ?? "")” is not what comes now")
            }
        } catch {
            state = .over
            throw error
        }
    }

    /// What both keep: drawn from the exchange by the code, and the same ever after.
    ///
    /// A new one each time would part the two when the last word of an exchange is lost. It gives nothing away: each
    /// exchange has keys of its own, and DTLS too.
    private func resumption(_ keys: SPAKE2.Keys) throws(SPAKE2Error) -> [UInt8] {
        if case .resumption(let bytes) = secret { return bytes }
        let key = try HKDF.extract(salt: [], keys.sharedKey)
        return try HKDF.expand(key, info: Array("PeerConnection resumption".utf8), byteCount: 32)
    }

    private func takeShare(_ share: Substring, _ fingerprint: Substring) throws(PairingError) {
        guard let share = Hexadecimal.bytes(share), let peer = Hexadecimal.bytes(fingerprint),
            peer.count == Self.fingerprintByteCount
        else { throw .malformed("a share or fingerprint is not hexadecimal") }
        peerFingerprint = peer
        let own = self.fingerprint
        do throws(SPAKE2Error) {
            keys = try exchange.finish(
                peerShare: share,
                additionalData: role == .initiator ? own + peer : peer + own
            )
        } catch {
            throw .malformed("\(error)")
        }
    }

    private func verify(_ confirmation: Substring) throws(PairingError) -> Agreement {
        guard let confirmation = Hexadecimal.bytes(confirmation), let keys else {
            throw .malformed("a confirmation is not hexadecimal")
        }
        do throws(SPAKE2Error) {
            try keys.verify(confirmation)
            return Agreement(peerFingerprint: peerFingerprint, resumption: try resumption(keys))
        } catch .wrongCode {
            throw .wrongCode
        } catch {
            throw .library("\(error)")
        }
    }
}

/// Lower-case hexadecimal.
package enum Hexadecimal {
    /// Two digits a byte.
    package static func text(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// Bytes of digits of either case; nil for anything else.
    package static func bytes(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in text.utf8 {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = digit - UInt8(ascii: "A") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return high == nil ? bytes : nil
    }
}
