import ICE
import PeerConnection
import STUN
import SansIO

/// Tries STUN and TURN servers by the transports that they are named with, all at once.
enum ServerTrials {
    /// - Returns: one trial for each server and transport, and what the best of them tells about the NAT.
    static func run(
        servers: [RTCIceServer],
        authorities: String?
    ) async -> ([DoctorReport.ServerTrial], NATFindings?) {
        var named: [(server: RTCIceServer, uri: ICEServerURI)] = []
        var trials: [DoctorReport.ServerTrial] = []
        for server in servers {
            for url in server.urls {
                do throws(ICEServerURIError) {
                    named.append((server, try ICEServerURI(url)))
                } catch {
                    trials.append(
                        .init(
                            url: url,
                            isRelay: url.lowercased().hasPrefix("turn"),
                            transport: .udp,
                            problem: "is no server's address: \(error)"
                        )
                    )
                }
            }
        }
        // Who speaks TURN over UDP answers STUN's questions, too.
        let askable = named.map(\.uri).filter { $0.transport == .udp && !$0.isSecure }
        let addresses = await addresses(of: askable)
        async let answers = discover(askable, addresses)
        async let relays = relay(named, authorities: authorities)
        let findings = await answers
        for (uri, found) in zip(askable, findings) where !uri.isRelay {
            trials.append(trial(of: uri, found, isKnown: addresses[uri] != nil))
        }
        trials += await relays
        return (trials, findings.max { usefulness($0) < usefulness($1) })
    }

    private static func usefulness(_ findings: NATFindings) -> Int {
        guard findings.mapped != nil else { return 0 }
        return 1 + (findings.mapping == nil ? 0 : 1) + (findings.canDiscover ? 1 : 0)
    }

    // MARK: STUN

    /// One address of each server that has any, IPv4 before IPv6: NATs are IPv4's.
    private static func addresses(of uris: [ICEServerURI]) async -> [ICEServerURI: TransportAddress] {
        var found: [ICEServerURI: TransportAddress] = [:]
        for uri in uris {
            let all = await NetworkDiagnosis.resolve(uri.host)
            let reachable = all.filter { NetworkDiagnosis.source(for: TransportAddress($0, port: uri.port)) != nil }
            guard let ip = reachable.first(where: \.isIPv4) ?? reachable.first ?? all.first else { continue }
            found[uri] = TransportAddress(ip, port: uri.port)
        }
        return found
    }

    private static func discover(
        _ uris: [ICEServerURI],
        _ addresses: [ICEServerURI: TransportAddress]
    ) async -> [NATFindings] {
        await withTaskGroup(of: (Int, NATFindings).self) { group in
            for (index, uri) in uris.enumerated() {
                guard let address = addresses[uri] else { continue }
                let second = addresses.values.first { $0.ip != address.ip && $0.ip.isIPv4 == address.ip.isIPv4 }
                group.addTask { (index, await NetworkDiagnosis.discover(server: address, second: second)) }
            }
            var findings = [NATFindings](repeating: NATFindings(), count: uris.count)
            for await (index, found) in group { findings[index] = found }
            return findings
        }
    }

    private static func trial(
        of uri: ICEServerURI,
        _ findings: NATFindings,
        isKnown: Bool
    ) -> DoctorReport.ServerTrial {
        let answers = findings.mapped != nil
        return .init(
            url: uri.description,
            isRelay: false,
            transport: .udp,
            time: answers ? findings.roundTripTime : nil,
            problem: answers ? nil : isKnown ? "does not answer" : "has no address",
            address: findings.mapped?.description
        )
    }

    // MARK: TURN

    private static func relay(
        _ named: [(server: RTCIceServer, uri: ICEServerURI)],
        authorities: String?
    ) async -> [DoctorReport.ServerTrial] {
        var wanted = named.filter(\.uri.isRelay).map { (server: $0.server, uri: $0.uri, isExtra: false) }
        // What is named by UDP mostly listens by TCP, too: where UDP is blocked, that is good to know.
        for (server, uri) in named where uri.isRelay && uri.transport == .udp && !uri.isSecure {
            let host = uri.host.contains(":") ? "[\(uri.host)]" : uri.host
            guard let other = try? ICEServerURI("turn:\(host):\(uri.port)?transport=tcp"),
                !wanted.contains(where: { $0.uri == other })
            else { continue }
            wanted.append((server, other, true))
        }
        return await withTaskGroup(of: (Int, DoctorReport.ServerTrial).self) { group in
            for (index, (server, uri, isExtra)) in wanted.enumerated() {
                group.addTask {
                    var trial = await allocate(server, uri, authorities: authorities)
                    trial.isExtra = isExtra
                    return (index, trial)
                }
            }
            var trials: [(Int, DoctorReport.ServerTrial)] = []
            for await trial in group { trials.append(trial) }
            return trials.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    /// Has a connection gather from one server alone, as a call would.
    private static func allocate(
        _ server: RTCIceServer,
        _ uri: ICEServerURI,
        authorities: String?
    ) async -> DoctorReport.ServerTrial {
        var trial = DoctorReport.ServerTrial(
            url: uri.description,
            isRelay: true,
            transport: uri.isSecure ? .tls : uri.transport == .tcp ? .tcp : .udp
        )
        var configuration = RTCConfiguration()
        configuration.iceServers = [
            RTCIceServer(urls: [uri.description], username: server.username, credential: server.credential)
        ]
        configuration.iceServerAuthorities = authorities
        configuration.iceTransportPolicy = .relay
        do {
            let connection = try RTCPeerConnection(configuration: configuration)
            let limit = Task {
                try await Task.sleep(for: patience)
                connection.close()
            }
            defer {
                limit.cancel()
                connection.close()
            }
            _ = try connection.createDataChannel("doctor")
            let begin = ContinuousClock.now
            let events = connection.events
            try await connection.setLocalDescription()
            for await event in events {
                switch event {
                case .iceCandidate(let candidate?) where candidate.candidate.contains(" typ relay"):
                    trial.time = ContinuousClock.now - begin
                    trial.problem = nil
                    let fields = candidate.candidate.split(separator: " ")
                    if fields.count > 5 { trial.address = "\(fields[4]):\(fields[5])" }
                    return trial
                case .iceCandidateError(let error):
                    trial.problem = words(of: error.error)
                    trial.isUnauthorized = error.errorCode == 401
                case .iceCandidate(nil):
                    trial.problem = trial.problem ?? "does not answer"
                    return trial
                default: break
                }
            }
            trial.problem = trial.problem ?? "does not answer within \(patience.components.seconds) seconds"
        } catch {
            trial.problem = "\(error)"
        }
        return trial
    }

    /// Without the server's name, which stands beside it.
    private static func words(of error: RTCError) -> String {
        let prefix = "the TURN server "
        guard error.message.hasPrefix(prefix) else { return error.message }
        return String(error.message.dropFirst(prefix.count).drop { $0 != " " }.dropFirst())
    }

    private static let patience = Duration.seconds(8)
}
