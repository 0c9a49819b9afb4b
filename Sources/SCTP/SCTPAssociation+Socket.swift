internal import CUSRSCTP
internal import Glibc
internal import SansIO

/// The making of usrsctp's socket, and its options.
extension SCTPAssociation {
    func openSocket() -> SCTPError? {
        guard unsafe socket == nil else { return nil }
        guard
            let made = unsafe usrsctp_socket(
                AF_CONN,
                Int32(SOCK_STREAM.rawValue),
                Int32(IPPROTO_SCTP),
                nil,
                nil,
                0,
                nil
            )
        else { return .system("socket", errno) }
        unsafe socket = made
        unsafe usrsctp_set_non_blocking(made, 1)
        unsafe usrsctp_set_upcall(
            made,
            { _, argument, _ in
                SCTPStack.setReadable(UInt(bitPattern: argument))
            },
            UnsafeMutableRawPointer(bitPattern: token)
        )
        // close() sends ABORT and frees everything at once.
        var linger = linger(l_onoff: 1, l_linger: 0)
        unsafe set(made, SOL_SOCKET, SO_LINGER, &linger)
        var on: Int32 = 1
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_NODELAY, &on)
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_RECVRCVINFO, &on)
        var reset = sctp_assoc_value(
            assoc_id: UInt32(SCTP_ALL_ASSOC),
            assoc_value: UInt32(SCTP_ENABLE_RESET_STREAM_REQ | SCTP_ENABLE_CHANGE_ASSOC_REQ)
        )
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_ENABLE_STREAM_RESET, &reset)
        for type in [SCTP_ASSOC_CHANGE, SCTP_STREAM_RESET_EVENT, SCTP_PARTIAL_DELIVERY_EVENT] {
            var event = sctp_event(se_assoc_id: UInt32(SCTP_ALL_ASSOC), se_type: UInt16(type), se_on: 1)
            unsafe set(made, Int32(IPPROTO_SCTP), SCTP_EVENT, &event)
        }
        var initial = sctp_initmsg(
            sinit_num_ostreams: mailbox.streams.initialOutgoing,
            sinit_max_instreams: 65_535,
            sinit_max_attempts: 0,
            sinit_max_init_timeo: 0
        )
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_INITMSG, &initial)
        var path = sctp_paddrparams()
        path.spp_flags = UInt32(SPP_PMTUD_DISABLE | SPP_HB_DISABLE)
        path.spp_pathmtu = UInt32(longestPacket - SCTPChunks.headerByteCount)
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_PEER_ADDR_PARAMS, &path)
        unsafe setFragmentLimit(made)
        var local = unsafe address(port: configuration.localPort)
        let size = unsafe socklen_t(MemoryLayout<sockaddr_conn>.size)
        let bound = unsafe withUnsafeMutablePointer(to: &local) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe usrsctp_bind(made, $0, size) }
        }
        return bound == 0 ? nil : .system("bind", errno)
    }

    func connectSocket(remotePort: UInt16) -> SCTPError? {
        guard let made = unsafe socket else { return .system("connect", ENOTSOCK) }
        var remote = unsafe address(port: remotePort)
        let size = unsafe socklen_t(MemoryLayout<sockaddr_conn>.size)
        let connected = unsafe withUnsafeMutablePointer(to: &remote) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe usrsctp_connect(made, $0, size) }
        }
        guard connected == 0 || errno == EINPROGRESS else { return .system("connect", errno) }
        // The path now exists: its MTU is set on it too.
        var path = sctp_paddrparams()
        unsafe memcpy(&path.spp_address, &remote, MemoryLayout<sockaddr_conn>.size)
        path.spp_flags = UInt32(SPP_PMTUD_DISABLE | SPP_HB_DISABLE)
        path.spp_pathmtu = UInt32(longestPacket - SCTPChunks.headerByteCount)
        unsafe set(made, Int32(IPPROTO_SCTP), SCTP_PEER_ADDR_PARAMS, &path)
        return nil
    }

    func address(port: UInt16) -> sockaddr_conn {
        var address = unsafe sockaddr_conn()
        unsafe address.sconn_family = UInt16(AF_CONN)
        unsafe address.sconn_port = port.bigEndian
        unsafe address.sconn_addr = UnsafeMutableRawPointer(bitPattern: token)
        return unsafe address
    }

    func set<Value: BitwiseCopyable>(
        _ socket: OpaquePointer,
        _ level: Int32,
        _ option: Int32,
        _ value: inout Value
    ) {
        _ = unsafe usrsctp_setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<Value>.size))
    }
}
