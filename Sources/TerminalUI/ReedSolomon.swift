/// Error correction codewords over GF(256) with the polynomial x⁸ + x⁴ + x³ + x² + 1, as QR codes use them.
///
/// ISO/IEC 18004:2015 §7.5.2
package struct ReedSolomon {
    /// Coefficients of ∏ (x − 2ⁱ) for i in 0 ..< degree, highest power first, without the leading 1.
    private let divisor: [UInt8]

    /// Makes an encoder that adds `degree` codewords, 1 to 255, to each block.
    package init(degree: Int) {
        var divisor = [UInt8](repeating: 0, count: degree)
        divisor[degree - 1] = 1
        var root: UInt8 = 1
        for _ in 0..<degree {
            for index in divisor.indices {
                divisor[index] = Self.multiply(divisor[index], root)
                if index + 1 < degree { divisor[index] ^= divisor[index + 1] }
            }
            root = Self.multiply(root, 2)
        }
        self.divisor = divisor
    }

    /// The remainder of `data`, as a polynomial, divided by the generator.
    package func correction(for data: some Sequence<UInt8>) -> [UInt8] {
        var remainder = [UInt8](repeating: 0, count: divisor.count)
        for byte in data {
            let factor = byte ^ remainder.removeFirst()
            remainder.append(0)
            for index in divisor.indices {
                remainder[index] ^= Self.multiply(divisor[index], factor)
            }
        }
        return remainder
    }

    private static func multiply(_ left: UInt8, _ right: UInt8) -> UInt8 {
        var product: UInt16 = 0
        for bit in stride(from: 7, through: 0, by: -1) {
            product = product << 1
            if product > 0xFF { product ^= 0x11D }
            if right >> bit & 1 == 1 { product ^= UInt16(left) }
        }
        return UInt8(truncatingIfNeeded: product)
    }
}
