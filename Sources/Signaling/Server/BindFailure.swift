import Glibc
import NIOCore

/// Says in words why a server cannot listen.
enum BindFailure {
    static func words(for error: any Error, host: String, port: Int) -> SignalingError {
        if let error = error as? SignalingError { return error }
        if error is SocketAddressError || error is SocketAddressError.UnknownHost {
            return SignalingError(.unknownHost, "“\(host)” is neither an address nor a name that has one.")
        }
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE?:
            return SignalingError(
                .addressInUse,
                "Port \(port) on \(host) is taken by another program. Choose another port, or 0 for any free one."
            )
        case EADDRNOTAVAIL?:
            return SignalingError(.addressNotLocal, "\(host) is not an address of this machine.")
        case EACCES?, EPERM?:
            return SignalingError(
                .permissionDenied,
                "The system does not let this user listen on port \(port); use one from 1024 on."
            )
        case EAFNOSUPPORT?:
            return SignalingError(.addressNotLocal, "This machine has no addresses of the kind of \(host).")
        default: return SignalingError(.unreachable, "Cannot listen on \(host), port \(port): \(error)")
        }
    }
}
