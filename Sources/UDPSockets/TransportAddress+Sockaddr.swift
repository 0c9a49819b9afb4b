internal import CLinux
internal import Glibc
package import NIOCore
package import SansIO

// The layouts of sockaddr_in and sockaddr_in6 are fixed: family, port, then the address; for IPv6 flow label,
// 16 bytes and the scope. Reading them as bytes serves NIO's, getifaddrs' and getaddrinfo's alike.

extension TransportAddress {
    /// Reads a `sockaddr_in` or `sockaddr_in6`; nil for another family or too few bytes.
    package init?(sockaddr bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 8 else { return nil }
        let family = unsafe Int32(bytes.loadUnaligned(fromByteOffset: 0, as: UInt16.self))
        let port = unsafe UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
        switch family {
        case AF_INET:
            self.init(
                IPAddress(v4: unsafe UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))),
                port: port
            )
        case AF_INET6 where bytes.count >= 28:
            self.init(
                IPAddress(
                    v6High: unsafe UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                    v6Low: unsafe UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)),
                    scopeID: unsafe bytes.loadUnaligned(fromByteOffset: 24, as: UInt32.self)
                ),
                port: port
            )
        default: return nil
        }
    }

    /// Reads a `sockaddr` whose length its family tells.
    ///
    /// The pointer has no type: which module owns `sockaddr` depends on what was imported first.
    package init?(sockaddrAt address: UnsafeRawPointer) {
        let family = unsafe Int32(address.loadUnaligned(as: UInt16.self))
        unsafe self.init(sockaddr: UnsafeRawBufferPointer(start: address, count: family == AF_INET6 ? 28 : 16))
    }

    /// The own address of a socket; nil if it has none.
    init?(ofSocket descriptor: CInt) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let own = unsafe withUnsafeMutablePointer(to: &storage) { pointer -> TransportAddress? in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard unsafe getsockname(descriptor, address, &length) == 0 else { return nil }
                return unsafe TransportAddress(sockaddrAt: address)
            }
        }
        guard let own else { return nil }
        self = own
    }

    /// The engine's form of a NIO address; nil for Unix sockets.
    package init?(_ address: SocketAddress) {
        guard
            let own = unsafe address.withSockAddr({ pointer, count in
                unsafe TransportAddress(sockaddr: UnsafeRawBufferPointer(start: pointer, count: count))
            })
        else { return nil }
        self = own
    }

    /// The same as `withSockaddr` for other modules, with a pointer that has no type.
    package func withRawSockaddr<Result>(_ body: (UnsafeRawPointer, UInt32) -> Result) -> Result {
        unsafe withSockaddr { address, length in unsafe body(UnsafeRawPointer(address), length) }
    }

    /// Calls `body` with the kernel's form of this address.
    func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        unsafe withUnsafeTemporaryAllocation(byteCount: 28, alignment: 8) { bytes in
            unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
            unsafe bytes.storeBytes(of: UInt16(ip.isIPv4 ? AF_INET : AF_INET6), toByteOffset: 0, as: UInt16.self)
            unsafe bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
            if ip.isIPv4 {
                unsafe bytes.storeBytes(
                    of: UInt32(truncatingIfNeeded: ip.low).bigEndian,
                    toByteOffset: 4,
                    as: UInt32.self
                )
            } else {
                unsafe bytes.storeBytes(of: ip.high.bigEndian, toByteOffset: 8, as: UInt64.self)
                unsafe bytes.storeBytes(of: ip.low.bigEndian, toByteOffset: 16, as: UInt64.self)
                unsafe bytes.storeBytes(of: ip.scopeID, toByteOffset: 24, as: UInt32.self)
            }
            // The allocation is never empty.
            let address = unsafe bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self)
            return unsafe body(address, socklen_t(ip.isIPv4 ? 16 : 28))
        }
    }
}
