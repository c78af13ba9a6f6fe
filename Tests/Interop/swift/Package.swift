// swift-tools-version: 6.1
import PackageDescription

// The third stock peer of the interoperability cases: grpc-swift-2 on its NIO transport. A package
// of its own, so that none of its dependencies comes near the daemon's.
let package = Package(
    name: "swift-peer",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/grpc/grpc-swift-2.git", exact: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport.git", exact: "2.9.2"),
    ],
    targets: [
        .executableTarget(
            name: "swift-peer",
            dependencies: [
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(
                    name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport"),
            ],
            path: "Sources/SwiftPeer")
    ]
)
