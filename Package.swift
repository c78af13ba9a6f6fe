// swift-tools-version: 6.2
import PackageDescription

// Every Swift target is compiled under the same rules (shared design, style "C interop" 1): no
// implicit re-exports, no unmarked unsafe code, no warning left standing.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
    // Every test runs with the run-time check of exclusive access; the release does without it: it
    // costs 6 % of a call's instructions (decision 0008).
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

func swiftTarget(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [])
    -> Target
{
    .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}

func testTarget(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [])
    -> Target
{
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}

func swiftTestSupport(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Tests/" + name, swiftSettings: settings)
}

func interopTarget(_ name: String, _ path: String) -> Target {
    .executableTarget(
        name: name,
        dependencies: [
            "InteropMessages", "TriageBase", "TriageIO", "TriageGRPC", "TriageTLS",
            "TriageTransport",
        ],
        path: path, swiftSettings: settings)
}

// The fuzz targets are a test target that replays their corpus; for Deploy/fuzz alone the same
// folder is an executable with libFuzzer's entry.
let fuzzDependencies: [Target.Dependency] = [
    "TestSupport", "TriageBase", "TriageGRPC", "TriageGzip", "TriageTLS", "TriageHTTP2",
    "TriageTransport", "TriageCodec",
]
let fuzz: Target =
    Context.environment["TRIAGED_FUZZ"] == nil
    ? .testTarget(
        name: "TriageFuzzTests", dependencies: fuzzDependencies, path: "Tests/Fuzz",
        exclude: ["Entry.swift", "corpus"], swiftSettings: settings)
    : .executableTarget(
        name: "triage-fuzz", dependencies: fuzzDependencies, path: "Tests/Fuzz",
        exclude: ["ReplayTests.swift", "corpus"], swiftSettings: settings)

let package = Package(
    name: "triaged",
    products: [
        .executable(name: "triaged", targets: ["triaged"]),
        .executable(name: "triagectl", targets: ["triagectl"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        // Latency percentiles of `triagectl replay` and `triagectl bench`; never linked into the
        // daemon.
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // Row 0: C. System libraries are reached through module maps; what Swift cannot see
        // (macros, GNU-only calls) has a shim; protoc-c output is committed and remade by
        // Protos/generate.
        .systemLibrary(
            name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(
            name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]
        ),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "CTriageShims", dependencies: ["CNghttp2", "COpenSSL", "CProtobufC"],
            cSettings: [.define("_GNU_SOURCE")]),
        .target(name: "CTriageProtos", dependencies: ["CProtobufC"]),

        // Row 1: limits, time, identifiers, randomness, checksums, invariants. Standard library
        // only.
        swiftTarget("TriageBase", []),

        // Row 2: the system calls, and (beside them, unaware of them) keys and ciphers, and the
        // pure rules.
        swiftTarget("TriageIO", ["TriageBase", "CTriageShims"]),
        swiftTarget("TriageCrypto", ["TriageBase", "COpenSSL"]),
        swiftTarget("TriageDomain", ["TriageBase"]),

        // Row 3: durable bytes, message codec, and the three protocol layers.
        swiftTarget(
            "TriageJournal", ["TriageBase", "TriageIO", "TriageCrypto"],
            exclude: ["FORMAT.md", "FORMAT-1.md", "VAULT.md"]),
        swiftTarget(
            "TriageCodec",
            ["TriageBase", "TriageDomain", "CTriageProtos", "CProtobufC", "CTriageShims"]),
        swiftTarget("TriageGRPC", ["TriageBase"]),
        swiftTarget("TriageTLS", ["TriageBase", "COpenSSL", "CTriageShims"]),
        swiftTarget("TriageHTTP2", ["TriageBase", "CNghttp2", "CTriageShims"]),
        // The only user of zlib: gRPC's message compression, bytes to bytes.
        swiftTarget("TriageGzip", ["TriageBase", "CZlib"]),

        // Row 4: the two halves, each joined: state with its journal, sockets with their protocols.
        swiftTarget(
            "TriageEngine",
            [
                "TriageBase", "TriageIO", "TriageCrypto", "TriageDomain", "TriageCodec",
                "TriageJournal",
            ]),
        swiftTarget(
            "TriageTransport",
            ["TriageBase", "TriageIO", "TriageTLS", "TriageHTTP2", "TriageGRPC", "TriageGzip"]),

        // Row 5: the RPC services (the only place where the halves meet) and the call API of
        // clients.
        swiftTarget(
            "TriageServices",
            ["TriageBase", "TriageGRPC", "TriageEngine", "TriageCodec", "TriageDomain"]),
        swiftTarget(
            "TriageClient",
            ["TriageBase", "TriageTransport", "TriageGRPC", "TriageCodec", "TriageDomain"]),

        // Row 6: the daemon and the command line.
        .executableTarget(
            name: "triaged",
            dependencies: [
                "TriageBase", "TriageIO", "TriageCrypto", "TriageJournal", "TriageEngine",
                "TriageCodec",
                "TriageDomain",
                "TriageGRPC", "TriageTransport", "TriageServices", "Yams",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            exclude: ["Decisions"],
            swiftSettings: settings),
        .executableTarget(
            name: "triagectl",
            dependencies: [
                "TriageBase", "TriageIO", "TriageClient", "TriageGRPC", "TriageTLS",
                "TriageTransport",
                "TriageCodec",
                "TriageDomain",
                "Yams",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: settings),

        // Measures the priority index, the containers beside it and the World; Deploy/bench calls
        // it.
        .executableTarget(
            name: "triage-index-bench", dependencies: ["TriageBase", "TriageDomain", "TriageIO"],
            path: "Tests/IndexBench", swiftSettings: settings),
        // Measures the codec's hot path.
        .executableTarget(
            name: "triage-codec-bench",
            dependencies: ["TriageBase", "TriageCodec", "TriageDomain"],
            path: "Tests/CodecBench", swiftSettings: settings),
        // Reads this tree, not the code's behaviour: imports, sizes, banned calls, dead files.
        testTarget("TriageTidyTests", []),

        // A server on the real transport with the methods that wire tests and benchmarks call; not
        // shipped.
        .target(
            name: "CBenchEcho", dependencies: ["CProtobufC"], path: "Tests/CBenchEcho"),
        .executableTarget(
            name: "triage-echo",
            dependencies: [
                "TriageBase", "TriageIO", "TriageGRPC", "TriageTransport",
                "CBenchEcho",
            ],
            path: "Tests/EchoServer",
            swiftSettings: settings),

        // triaged's services and engine over a journal that keeps nothing, for measuring what a
        // call costs without a disk; not shipped.
        .executableTarget(
            name: "triage-volatile",
            dependencies: [
                "TriageBase", "TriageIO", "TriageDomain", "TriageJournal", "TriageEngine",
                "TriageGRPC", "TriageTLS", "TriageTransport", "TriageServices",
            ],
            path: "Tests/VolatileServer", swiftSettings: settings),

        // The interoperability cases of gRPC on the real transport, against stock peers; not
        // shipped.
        swiftTestSupport("InteropMessages", ["TriageGRPC"]),
        interopTarget("triage-interop-server", "Tests/InteropServer"),
        interopTarget("triage-interop-client", "Tests/InteropClient"),

        // Measures the journal and snapshots against the raw disk in the same run; not shipped.
        .executableTarget(
            name: "triage-storage-bench",
            dependencies: ["TriageBase", "TriageIO", "TriageCrypto", "TriageJournal"],
            path: "Tests/StorageBench", swiftSettings: settings),

        // Engine, journal and snapshots on a simulated disk, under one seed; the test target runs a
        // few seeds, the command many; not shipped.
        .target(
            name: "Simulation",
            dependencies: [
                "TestSupport", "DomainFixtures", "TriageBase", "TriageIO", "TriageCrypto",
                "TriageDomain", "TriageCodec", "TriageJournal", "TriageEngine",
            ], path: "Tests/Simulation", swiftSettings: settings),
        .executableTarget(
            name: "triage-simulation",
            dependencies: [
                "Simulation", "TriageBase", "TriageIO",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/SimulationRunner", swiftSettings: settings),
        testTarget(
            "TriageSimulationTests", ["Simulation", "TestSupport", "TriageBase", "TriageIO"]),

        // Tests: one target per module, and what several of them need.
        .target(
            name: "TestSupport",
            dependencies: ["TriageBase", "TriageIO", "TriageJournal", "TriageHTTP2", "CNghttp2"],
            path: "Tests/TestSupport", swiftSettings: settings),
        testTarget("TriageBaseTests", ["TriageBase"]),
        testTarget(
            "TriageCtlTests",
            ["TestSupport", "triagectl", "TriageBase", "TriageIO", "TriageCodec"]),
        testTarget("TriageIOTests", ["TestSupport", "TriageBase", "TriageIO"]),
        testTarget(
            "TriageJournalTests",
            ["TestSupport", "TriageBase", "TriageIO", "TriageCrypto", "TriageJournal"],
            exclude: ["Fixtures"]),
        testTarget("TriageCryptoTests", ["TriageBase", "TriageCrypto"]),
        // Values and random commands of the domain, for its own tests and for the simulation.
        swiftTestSupport("DomainFixtures", ["TriageBase", "TriageDomain"]),
        testTarget("TriageDomainTests", ["DomainFixtures", "TriageBase", "TriageDomain"]),
        testTarget(
            "TriageCodecTests",
            ["TriageBase", "TriageDomain", "TriageCodec", "CTriageProtos", "CProtobufC"]),
        testTarget(
            "TriageEngineTests",
            [
                "TriageBase", "TriageIO", "TriageCrypto", "TriageDomain", "TriageCodec",
                "TriageJournal", "TriageEngine", "TestSupport",
            ]),
        testTarget("TriageGRPCTests", ["TriageBase", "TriageGRPC"]),
        testTarget("TriageGzipTests", ["TriageBase", "TriageGzip", "CZlib"]),
        testTarget(
            "TriageTransportTests",
            [
                "TriageBase", "TriageIO", "TriageGRPC", "TriageTLS", "TriageHTTP2", "TriageGzip",
                "TriageTransport", "TestSupport",
            ]),
        testTarget(
            "TriageServicesTests",
            [
                "TriageBase", "TriageIO", "TriageDomain", "TriageCodec", "TriageJournal",
                "TriageGRPC",
                "TriageEngine", "TriageServices", "TestSupport",
            ]),
        testTarget(
            "TriageClientTests",
            [
                "TriageBase", "TriageIO", "TriageGRPC", "TriageTLS", "TriageHTTP2",
                "TriageTransport", "TriageCodec", "TriageClient", "TestSupport",
            ]),
        testTarget("TriageTLSTests", ["TriageBase", "TriageTLS", "TestSupport", "COpenSSL"]),
        fuzz,
        testTarget(
            "TriageHTTP2Tests", ["TriageBase", "TriageHTTP2", "TestSupport", "CNghttp2"]),
    ]
)
