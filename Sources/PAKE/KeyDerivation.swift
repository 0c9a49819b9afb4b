internal import COpenSSL

/// SHA-256 of a whole message. FIPS 180-4
enum SHA256 {
    static func digest(_ message: [UInt8]) throws(SPAKE2Error) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        guard unsafe EVP_Digest(message, message.count, &digest, nil, EVP_sha256(), nil) == 1 else {
            throw .library("EVP_Digest")
        }
        return digest
    }
}

/// HMAC with SHA-256. RFC 2104
package enum HMACSHA256 {
    /// The code of a message, 32 bytes.
    package static func code(key: [UInt8], _ message: [UInt8]) throws(SPAKE2Error) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: 32)
        guard let count = Int32(exactly: key.count),
            unsafe HMAC(EVP_sha256(), key, count, message, message.count, &code, nil) != nil
        else { throw .library("HMAC") }
        return code
    }
}

/// HKDF with SHA-256. RFC 5869
package enum HKDF {
    /// A pseudorandom key, 32 bytes.
    package static func extract(salt: [UInt8], _ keyMaterial: [UInt8]) throws(SPAKE2Error) -> [UInt8] {
        try HMACSHA256.code(key: salt.isEmpty ? [UInt8](repeating: 0, count: 32) : salt, keyMaterial)
    }

    /// Key material of `byteCount` bytes, at most 8160.
    package static func expand(_ key: [UInt8], info: [UInt8], byteCount: Int) throws(SPAKE2Error) -> [UInt8] {
        guard (1...8_160).contains(byteCount) else { throw .library("HKDF of \(byteCount) bytes") }
        var output: [UInt8] = []
        var block: [UInt8] = []
        var number: UInt8 = 1
        while output.count < byteCount {
            block = try HMACSHA256.code(key: key, block + info + [number])
            output += block
            number &+= 1
        }
        return Array(output.prefix(byteCount))
    }
}
