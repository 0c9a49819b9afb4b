// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "Examples",
    dependencies: [
        // In a project of your own: .package(url: "https://…/PeerConnection", from: "0.1.0")
        .package(name: "PeerConnection", path: "..")
    ],
    targets: [
        .executableTarget(name: "hello", dependencies: [.product(name: "PeerConnection", package: "PeerConnection")]),
        .executableTarget(
            name: "computer-vision",
            dependencies: [.product(name: "PeerConnection", package: "PeerConnection")]
        ),
        .executableTarget(
            name: "answer-browser",
            dependencies: [
                .product(name: "PeerConnection", package: "PeerConnection"),
                .product(name: "Signaling", package: "PeerConnection"),
            ]
        ),
    ]
)
