// swift-tools-version: 6.2
import PackageDescription

// Sources/Planted says what this is for. Such a build has the server and its simulation, and nothing else.
let isPlanted = Context.environment["FANOUT_PLANTED"] == "1"

// Dependencies point one way: CIOUring, CLinux ← Reactor ← FanoutServer ← fanout, with Wire (pure functions over bytes)
// beside Reactor, EventStore (the database) and TypeDefinition (schemas) above Wire, and Planted, which is empty in
// every ordinary build, below them.
// The libraries come from Debian: liburing-dev, libssl-dev and libsqlite3-dev, all linked statically.
let package = Package(
    name: "fanout",
    products: [
        .executable(name: "fanout", targets: ["fanout"]),
        .library(name: "FanoutServer", targets: ["FanoutServer"]),
        .library(name: "FanoutClient", targets: ["FanoutClient"]),
    ],
    targets: [
        .target(name: "CIOUring", linkerSettings: [.linkedLibrary(":liburing.a")]),
        .target(name: "CLinux"),
        .target(name: "CDigest", linkerSettings: [.linkedLibrary(":libcrypto.a")]),
        .target(name: "CSQLite", linkerSettings: [.linkedLibrary(":libsqlite3.a"), .linkedLibrary("m")]),
        .target(name: "CVector"),
        .target(
            name: "CWebPage", exclude: ["page.html", "page.css", "page.js", "fanout.js", "configuration.schema.json"]),
        .target(name: "Planted", swiftSettings: isPlanted ? [.define("PLANTED")] : []),
        .target(name: "Wire", dependencies: ["CDigest", "CVector", "Planted"]),
        .target(name: "TypeDefinition", dependencies: ["Wire"]),
        .target(name: "EventStore", dependencies: ["CSQLite", "CLinux", "Planted", "Wire"]),
        .target(name: "Reactor", dependencies: ["CIOUring", "CLinux", "Planted"]),
        .target(
            name: "FanoutServer",
            dependencies: ["Reactor", "Wire", "EventStore", "TypeDefinition", "CLinux", "CWebPage", "Planted"],
            swiftSettings: [.enableExperimentalFeature("Lifetimes")]),
        .target(name: "FanoutClient", dependencies: ["Wire", "CLinux"]),
        .target(name: "HostEvents", dependencies: ["Wire"]),
        .target(name: "ClientSockets", dependencies: ["CLinux"]),
        .target(name: "LoadGenerator", dependencies: ["ClientSockets", "FanoutClient", "Wire", "CLinux"]),
        .target(name: "LoadReport", dependencies: ["Wire"]),
        .executableTarget(
            name: "fanout",
            dependencies: [
                "FanoutServer", "FanoutClient", "HostEvents", "LoadGenerator", "LoadReport", "ClientSockets", "CLinux",
                "TypeDefinition", "Wire",
            ]),
        .executableTarget(
            name: "echo-server", dependencies: ["Reactor", "Wire"], path: "examples/echo", exclude: ["README.md"]),
        .executableTarget(name: "embed-example", dependencies: ["FanoutServer"], path: "examples/embed"),
        // Programs of somebody else's, as far as the library is concerned: only what is public.
        .executableTarget(
            name: "shield-event", dependencies: ["FanoutClient"], path: "examples/terok-hub/ShieldEvent",
            packageAccess: false),
        .executableTarget(
            name: "session-list", dependencies: ["FanoutClient"], path: "examples/shpool-events/SessionList",
            packageAccess: false),
        .executableTarget(name: "fanout-readers", dependencies: ["ClientSockets", "CLinux"], path: "bench/Readers"),
        .executableTarget(
            name: "thread-per-subscriber", dependencies: ["Wire"], path: "bench/ThreadPerSubscriber"),
        .executableTarget(name: "store-figures", dependencies: ["EventStore", "CLinux", "Wire"], path: "bench/Store"),
        .testTarget(name: "WireTests", dependencies: ["Wire"]),
        .testTarget(
            name: "TypeDefinitionTests", dependencies: ["TypeDefinition", "Wire"], exclude: ["Generated", "Vectors"]),
        .target(name: "CTestDisk", dependencies: ["CSQLite"], path: "Tests/CTestDisk"),
        .testTarget(name: "EventStoreTests", dependencies: ["EventStore", "CTestDisk", "CSQLite", "Reactor", "Wire"]),
        .testTarget(name: "ReactorTests", dependencies: ["Reactor", "CIOUring", "CLinux"]),
        .testTarget(
            name: "FanoutServerTests", dependencies: ["FanoutServer", "EventStore", "CTestDisk", "Reactor", "Wire"]),
        .testTarget(name: "FanoutClientTests", dependencies: ["FanoutClient", "Wire"]),
        .testTarget(name: "LoadReportTests", dependencies: ["LoadReport", "Wire"]),
        .testTarget(name: "LoadGeneratorTests", dependencies: ["LoadGenerator", "ClientSockets", "Wire"]),
        .testTarget(name: "CommandTests", dependencies: ["fanout", "HostEvents", "FanoutServer"]),
        .testTarget(
            name: "SimulationTests", dependencies: ["FanoutServer", "EventStore", "CTestDisk", "Reactor", "Wire"]),
        .testTarget(name: "TidyTests"),
    ],
    swiftLanguageModes: [.v6]
)

if isPlanted {
    let kept: Set = [
        "CIOUring", "CLinux", "CDigest", "CSQLite", "CVector", "CWebPage", "Planted", "Wire", "EventStore", "Reactor",
        "TypeDefinition", "FanoutServer", "CTestDisk", "SimulationTests",
    ]
    package.targets.removeAll { !kept.contains($0.name) }
    package.products = []
}
