internal import COpenSSL

/// Points and scalars of P-256, by OpenSSL; one thread at a time.
@safe final class P256 {
    /// A point; freed with the last reference.
    @safe final class Point {
        // EC_POINT *
        let pointer: OpaquePointer
        init(_ pointer: OpaquePointer) { unsafe self.pointer = pointer }
        deinit { unsafe EC_POINT_clear_free(pointer) }
    }

    /// A whole number below the group's order; wiped with the last reference.
    @safe final class Scalar {
        // BIGNUM *
        let pointer: OpaquePointer
        init(_ pointer: OpaquePointer) { unsafe self.pointer = pointer }
        deinit { unsafe BN_clear_free(pointer) }
    }

    /// Bytes of an uncompressed point.
    static let pointByteCount = 65

    // EC_GROUP * and BN_CTX *
    private let group: OpaquePointer
    private let context: OpaquePointer

    init() throws(SPAKE2Error) {
        guard let group = unsafe EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1) else {
            throw .library("EC_GROUP_new_by_curve_name")
        }
        guard let context = unsafe BN_CTX_new() else {
            unsafe EC_GROUP_free(group)
            throw .library("BN_CTX_new")
        }
        unsafe self.group = group
        unsafe self.context = context
    }

    deinit {
        unsafe BN_CTX_free(context)
        unsafe EC_GROUP_free(group)
    }

    /// A big-endian number modulo the group's order.
    func scalar(_ bytes: [UInt8]) throws(SPAKE2Error) -> Scalar {
        guard let count = Int32(exactly: bytes.count), let number = unsafe BN_bin2bn(bytes, count, nil) else {
            throw .library("BN_bin2bn")
        }
        let scalar = unsafe Scalar(number)
        guard let order = unsafe EC_GROUP_get0_order(group),
            unsafe BN_nnmod(scalar.pointer, scalar.pointer, order, context) == 1
        else { throw .library("BN_nnmod") }
        unsafe BN_set_flags(scalar.pointer, BN_FLG_CONSTTIME)
        return scalar
    }

    /// The number in 32 bytes, big endian.
    func bytes(of scalar: Scalar) throws(SPAKE2Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 32)
        guard unsafe BN_bn2binpad(scalar.pointer, &bytes, 32) == 32 else { throw .library("BN_bn2binpad") }
        return bytes
    }

    /// The point that `bytes` encode, which OpenSSL finds on the curve; not the neutral element.
    func decode(_ bytes: [UInt8]) throws(SPAKE2Error) -> Point {
        let point = try newPoint()
        guard unsafe EC_POINT_oct2point(group, point.pointer, bytes, bytes.count, context) == 1, !isInfinity(point)
        else {
            OpenSSLQueue.clear()
            throw .library("EC_POINT_oct2point")
        }
        return point
    }

    /// The uncompressed form, 65 bytes.
    func encode(_ point: Point) throws(SPAKE2Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.pointByteCount)
        guard
            unsafe EC_POINT_point2oct(
                group,
                point.pointer,
                POINT_CONVERSION_UNCOMPRESSED,
                &bytes,
                bytes.count,
                context
            ) == bytes.count
        else { throw .library("EC_POINT_point2oct") }
        return bytes
    }

    func multiplyGenerator(_ scalar: Scalar) throws(SPAKE2Error) -> Point {
        let result = try newPoint()
        guard unsafe EC_POINT_mul(group, result.pointer, scalar.pointer, nil, nil, context) == 1 else {
            throw .library("EC_POINT_mul")
        }
        return result
    }

    func multiply(_ point: Point, _ scalar: Scalar) throws(SPAKE2Error) -> Point {
        let result = try newPoint()
        guard unsafe EC_POINT_mul(group, result.pointer, nil, point.pointer, scalar.pointer, context) == 1 else {
            throw .library("EC_POINT_mul")
        }
        return result
    }

    func add(_ left: Point, _ right: Point) throws(SPAKE2Error) -> Point {
        let result = try newPoint()
        guard unsafe EC_POINT_add(group, result.pointer, left.pointer, right.pointer, context) == 1 else {
            throw .library("EC_POINT_add")
        }
        return result
    }

    func subtract(_ left: Point, _ right: Point) throws(SPAKE2Error) -> Point {
        let negative = try newPoint()
        guard unsafe EC_POINT_copy(negative.pointer, right.pointer) == 1,
            unsafe EC_POINT_invert(group, negative.pointer, context) == 1
        else { throw .library("EC_POINT_invert") }
        return try add(left, negative)
    }

    func isInfinity(_ point: Point) -> Bool { unsafe EC_POINT_is_at_infinity(group, point.pointer) == 1 }

    private func newPoint() throws(SPAKE2Error) -> Point {
        guard let point = unsafe EC_POINT_new(group) else { throw .library("EC_POINT_new") }
        return unsafe Point(point)
    }
}

/// OpenSSL's queue of errors, which a refused point fills.
enum OpenSSLQueue {
    static func clear() { ERR_clear_error() }
}
