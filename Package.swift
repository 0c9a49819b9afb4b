// swift-tools-version: 6.2
import PackageDescription

/// Tests use these alone: they may hold C pointers without spelling out `unsafe`.
let testSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]
let settings = testSettings + [.strictMemorySafety()]
/// `Lifetimes` gives the borrowed readers over `RawSpan` their lifetimes.
let lifetimes = settings + [.enableExperimentalFeature("Lifetimes")]

func system(_ name: String, pkgConfig: String?, apt: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt])])
}
func module(_ name: String, _ dependencies: [Target.Dependency], settings: [SwiftSetting] = settings) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
    name: "PeerConnection",
    products: [
        .library(name: "PeerConnection", targets: ["PeerConnection"]),
        .library(name: "Signaling", targets: ["Signaling"]),
        .library(name: "FileTransfer", targets: ["FileTransfer"]),
        .executable(name: "rtc-peer", targets: ["rtc-peer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    ],
    targets: [
        // System C libraries: a module map and a shim each.
        system("COpenSSL", pkgConfig: "openssl", apt: "libssl-dev"),
        system("CSRTP", pkgConfig: "libsrtp2", apt: "libsrtp2-dev"),
        // usrsctp's .pc file carries -DINET, which SwiftPM refuses; the module map links it.
        system("CUSRSCTP", pkgConfig: nil, apt: "libusrsctp-dev"),
        system("COpus", pkgConfig: "opus", apt: "libopus-dev"),
        system("CVPX", pkgConfig: "vpx", apt: "libvpx-dev"),
        system("CALSA", pkgConfig: "alsa", apt: "libasound2-dev"),
        system("CV4L2", pkgConfig: nil, apt: "linux-libc-dev"),
        system("CLinux", pkgConfig: nil, apt: "libc6-dev"),
        system("CYUV", pkgConfig: nil, apt: "libyuv-dev"),
        system("CSpeexDSP", pkgConfig: "speexdsp", apt: "libspeexdsp-dev"),
        system("CPNG", pkgConfig: nil, apt: "libpng-dev"),
        // Loaded when a window is opened, so that rtc-peer runs on machines without it.
        .target(name: "CSDL2", linkerSettings: [.linkedLibrary("dl")]),
        // Loaded when a screen is captured, likewise.
        .target(name: "CXCB", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CDBus", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CPipeWire", linkerSettings: [.linkedLibrary("dl")]),

        .target(name: "CCRC32C"),

        // The lock of all modules; `make test-tsan` sets TSAN.
        .target(
            name: "Locking",
            swiftSettings: settings + (Context.environment["TSAN"] == "1" ? [.define("THREAD_SANITIZER")] : [])
        ),

        // Protocols, bottom up: bytes and time in, actions out.
        module("SansIO", [], settings: lifetimes),
        module("STUN", ["SansIO", "COpenSSL"], settings: lifetimes),
        module("ICE", ["SansIO", "STUN"]),
        module("TURNServer", ["SansIO", "STUN"]),
        module("DTLS", ["SansIO", "COpenSSL"]),
        module("SRTP", ["SansIO", "CSRTP"]),
        module(
            "SCTP",
            ["Locking", "SansIO", "CUSRSCTP", "CCRC32C", .product(name: "DequeModule", package: "swift-collections")]
        ),
        module("SDP", ["SansIO"]),
        module("MDNS", ["SansIO"]),
        // What is in a stream of H.264, which is never decoded here.
        module("H264", []),
        module("RTP", ["SansIO", "H264", .product(name: "DequeModule", package: "swift-collections")]),
        module("CongestionControl", ["SansIO", "RTP"]),
        module("PeerEngine", ["SansIO", "STUN", "ICE", "DTLS", "SRTP", "SCTP", "SDP", "RTP", "CongestionControl"]),

        // Media files as values and bytes: WebM and Ogg.
        module("Containers", []),

        // Media.
        module("Media", ["Locking", "CLinux", "COpus", "CSpeexDSP", "CVPX", "CYUV"]),
        module(
            "Capture",
            [
                "Containers", "H264", "Locking", "Media", "CALSA", "CDBus", "CLinux", "CPipeWire", "CV4L2", "CXCB",
                "CYUV",
            ]
        ),

        // Pictures for people: PNG, terminals, a window.
        module("Display", ["Locking", "Media", "TerminalUI", "CPNG", "CSDL2", "CYUV"]),

        // Texts of JSON, read and written.
        module("JSON", []),

        // Two who know a short code agree on a key.
        module("PAKE", ["COpenSSL"]),

        // UDP sockets with segmentation offload on NIO's event loops, and the machine's addresses.
        module(
            "UDPSockets",
            [
                "SansIO", "CLinux",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),

        // The TURN server on NIO.
        module(
            "TURNService",
            [
                "SansIO", "TURNServer", "UDPSockets", "Locking",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "Logging", package: "swift-log"),
            ]
        ),

        // The library and the tool.
        module(
            "PeerConnection",
            [
                "UDPSockets", "Locking", "PeerEngine", "SansIO", "STUN", "ICE", "DTLS", "SRTP", "SCTP", "SDP", "RTP",
                "Media", "MDNS",
                "Capture", "Containers", "CLinux",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "Logging", package: "swift-log"),
            ]
        ),
        // Signalling: a server with a page, and a client; it knows nothing of peer connections.
        .target(
            name: "Signaling",
            dependencies: [
                "JSON", "Locking", "COpenSSL",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "Logging", package: "swift-log"),
            ],
            resources: [.embedInCode("Page/assets")],
            swiftSettings: settings
        ),

        // Files over a data channel; no terminal and no signalling.
        module("FileTransfer", ["JSON", "Locking", "PeerConnection", "COpenSSL", "CLinux"]),

        .executableTarget(
            name: "rtc-peer",
            dependencies: [
                "Display", "FileTransfer", "JSON", "Locking", "PAKE", "PeerConnection", "SansIO", "Signaling",
                "TerminalUI", "TURNServer", "TURNService", "COpenSSL", "ICE", "STUN",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),

        // What the command line shows: status line, QR code, figures, JSON lines.
        module("TerminalUI", ["JSON", "Locking"]),

        // Tests and what they share.
        .target(name: "SimulatedClock", path: "Tests/Support/SimulatedClock"),
        .target(name: "AllocationCounter", path: "Tests/Support/AllocationCounter"),
        .target(
            name: "TimeSharing",
            dependencies: ["Locking"],
            path: "Tests/Support/TimeSharing",
            swiftSettings: testSettings
        ),
        .target(
            name: "Trickle",
            dependencies: ["PeerConnection"],
            path: "Tests/Support/Trickle",
            swiftSettings: testSettings
        ),
        .target(
            name: "Coturn",
            dependencies: ["ICE", "STUN", "SansIO", .product(name: "NIOSSL", package: "swift-nio-ssl")],
            path: "Tests/Support/Coturn",
            swiftSettings: testSettings
        ),
        // An X server without a monitor, and a client that draws on it.
        .target(name: "XPainter", path: "Tests/Support/XPainter", linkerSettings: [.linkedLibrary("xcb")]),
        .target(
            name: "VirtualScreen",
            dependencies: ["XPainter"],
            path: "Tests/Support/VirtualScreen",
            swiftSettings: testSettings
        ),
        // ALSA's devices without a card.
        .target(name: "NullSound", path: "Tests/Support/NullSound", swiftSettings: testSettings),
        // Speech, rooms and echo for the tests of sound and their benchmark.
        .target(name: "SoundScenes", path: "Tests/Support/SoundScenes", swiftSettings: testSettings),
        .testTarget(
            name: "WireTests",
            dependencies: [
                "SansIO", "STUN", "ICE", "MDNS", "DTLS", "SRTP", "SCTP", "SDP", "RTP", "H264", "CongestionControl",
                "CCRC32C", "PAKE", "SimulatedClock", "AllocationCounter", "Coturn", "TimeSharing",
            ],
            exclude: ["Vectors"],
            swiftSettings: testSettings
        ),
        .testTarget(
            name: "EngineTests",
            dependencies: [
                "PeerEngine", "SansIO", "ICE", "DTLS", "SRTP", "SCTP", "SDP", "RTP", "CongestionControl",
                "SimulatedClock", "AllocationCounter",
            ],
            swiftSettings: testSettings
        ),
        .testTarget(
            name: "TURNServerTests",
            dependencies: [
                "TURNServer", "TURNService", "ICE", "STUN", "SansIO", "Coturn", "AllocationCounter",
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: testSettings
        ),
        .testTarget(
            name: "SignalingTests",
            dependencies: [
                "JSON", "Signaling", "SansIO", .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: testSettings
        ),
        .testTarget(
            name: "CLITests",
            dependencies: [
                "rtc-peer", "Display", "FileTransfer", "Locking", "PAKE", "PeerConnection", "SansIO", "Signaling",
                "TerminalUI", "TURNServer", "TURNService", "TimeSharing", "STUN", "Trickle", "VirtualScreen",
                "NullSound",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: testSettings
        ),
        .testTarget(
            name: "PeerConnectionTests",
            dependencies: [
                "Locking", "PeerConnection", "PeerEngine", "SansIO", "TURNServer", "TURNService", "AllocationCounter",
                "Coturn", "TimeSharing", "MDNS", "RTP", "SoundScenes", "Trickle", "UDPSockets",
                "VirtualScreen",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: testSettings
        ),
        .testTarget(
            name: "FileTransferTests",
            dependencies: ["FileTransfer", "Locking", "PeerConnection", "TimeSharing", "Trickle"],
            swiftSettings: testSettings
        ),
        .testTarget(
            name: "MediaTests",
            dependencies: [
                "Locking", "Media", "Capture", "Containers", "CXCB", "Display", "TerminalUI", "AllocationCounter",
                "SoundScenes", "VirtualScreen", "NullSound",
            ],
            swiftSettings: testSettings
        ),
    ]
)

// Benchmarks are built only when asked for: BENCHMARKS=1 swift build -c release --product peer-bench
if Context.environment["BENCHMARKS"] == "1" {
    package.products.append(.executable(name: "peer-bench", targets: ["peer-bench"]))
    package.targets.append(
        .executableTarget(
            name: "peer-bench",
            dependencies: [
                "Capture", "JSON", "Locking", "PeerConnection", "Media", "VirtualScreen",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Benchmarks/PeerBench",
            swiftSettings: testSettings
        )
    )
    package.products.append(.executable(name: "transfer-rate", targets: ["transfer-rate"]))
    package.targets.append(
        .executableTarget(
            name: "transfer-rate",
            dependencies: ["FileTransfer", "Locking", "PeerConnection"],
            path: "Benchmarks/TransferRate",
            swiftSettings: testSettings
        )
    )
    package.products.append(.executable(name: "sound-bench", targets: ["sound-bench"]))
    package.targets.append(
        .executableTarget(
            name: "sound-bench",
            dependencies: ["Capture", "Media", "SoundScenes"],
            path: "Benchmarks/SoundBench",
            swiftSettings: testSettings
        )
    )
}
