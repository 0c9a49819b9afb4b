import NIOHTTP1

/// The answer to one request: only what is embedded in the program can be had.
struct PageResponse {
    var status: HTTPResponseStatus
    var headers: HTTPHeaders
    var body: [UInt8]

    static func text(_ status: HTTPResponseStatus, _ text: String) -> PageResponse {
        PageResponse(
            status: status,
            headers: standardHeaders(type: "text/plain; charset=utf-8"),
            body: Array(text.utf8)
        )
    }

    private init(status: HTTPResponseStatus, headers: HTTPHeaders, body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    init(_ head: HTTPRequestHead, servesPage: Bool, isSecure: Bool) {
        guard head.method == .GET || head.method == .HEAD else {
            self = .text(.methodNotAllowed, "Only GET and HEAD are answered here.\n")
            headers.add(name: "allow", value: "GET, HEAD")
            return
        }
        let path = String(head.uri.prefix { $0 != "?" && $0 != "#" })
        if path == "/healthz" {
            self = .text(.ok, "ok\n")
        } else if let asset = Self.assets[path], servesPage {
            self.init(status: .ok, headers: Self.standardHeaders(type: asset.type), body: asset.bytes)
        } else if servesPage, path == "/" || RoomName.isValid(String(path.dropFirst())) {
            var headers = Self.standardHeaders(type: "text/html; charset=utf-8")
            headers.add(name: "content-security-policy", value: Self.policy)
            self.init(status: .ok, headers: headers, body: PackageResources.index_html)
        } else {
            self = .text(.notFound, "There is nothing at this address. A room's address is /NAME.\n")
        }
    }

    private static let assets: [String: (type: String, bytes: [UInt8])] = [
        "/assets/page.css": ("text/css; charset=utf-8", PackageResources.page_css),
        "/assets/transfer.css": ("text/css; charset=utf-8", PackageResources.transfer_css),
        "/assets/start.js": ("text/javascript; charset=utf-8", PackageResources.start_js),
        "/assets/main.js": ("text/javascript; charset=utf-8", PackageResources.main_js),
        "/assets/signaling.js": ("text/javascript; charset=utf-8", PackageResources.signaling_js),
        "/assets/roads.js": ("text/javascript; charset=utf-8", PackageResources.roads_js),
        "/assets/peer.js": ("text/javascript; charset=utf-8", PackageResources.peer_js),
        "/assets/files.js": ("text/javascript; charset=utf-8", PackageResources.files_js),
        "/assets/graphs.js": ("text/javascript; charset=utf-8", PackageResources.graphs_js),
        "/assets/sha256.js": ("text/javascript; charset=utf-8", PackageResources.sha256_js),
        "/assets/receive.js": ("text/javascript; charset=utf-8", PackageResources.receive_js),
        "/assets/meeting.js": ("text/javascript; charset=utf-8", PackageResources.meeting_js),
        "/assets/transfer.js": ("text/javascript; charset=utf-8", PackageResources.transfer_js),
        "/assets/code.js": ("text/javascript; charset=utf-8", PackageResources.code_js),
        "/assets/view.js": ("text/javascript; charset=utf-8", PackageResources.view_js),
        "/assets/protocol.js": ("text/javascript; charset=utf-8", PackageResources.protocol_js),
        "/assets/send.js": ("text/javascript; charset=utf-8", PackageResources.send_js),
        "/assets/sender.js": ("text/javascript; charset=utf-8", PackageResources.sender_js),
        "/assets/sources.js": ("text/javascript; charset=utf-8", PackageResources.sources_js),
        "/assets/sinks.js": ("text/javascript; charset=utf-8", PackageResources.sinks_js),
        "/assets/spake2.js": ("text/javascript; charset=utf-8", PackageResources.spake2_js),
    ]

    /// Scripts and styles of this server only; nothing may frame the page.
    private static let policy = """
        default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
        connect-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'
        """

    private static func standardHeaders(type: String) -> HTTPHeaders {
        [
            "content-type": type, "cache-control": "no-store", "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer", "permissions-policy": "camera=(self), microphone=(self)",
        ]
    }
}
