// swift-tools-version: 6.2
import PackageDescription

// Dependencies point one way: CIOUring, CLinux ← Reactor ← FanoutServer ← fanout, with Wire (pure functions over bytes)
// beside Reactor. The libraries come from Debian: liburing-dev and libssl-dev, both linked statically.
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
        .target(name: "CWebPage", exclude: ["page.html", "page.css", "page.js", "fanout.js"]),
        .target(name: "Wire", dependencies: ["CDigest"]),
        .target(name: "Reactor", dependencies: ["CIOUring", "CLinux"]),
        .target(
            name: "FanoutServer", dependencies: ["Reactor", "Wire", "CWebPage"],
            swiftSettings: [.enableExperimentalFeature("Lifetimes")]),
        .target(name: "FanoutClient", dependencies: ["Wire", "CLinux"]),
        .target(name: "HostEvents", dependencies: ["Wire"]),
        .executableTarget(name: "fanout", dependencies: ["FanoutServer", "FanoutClient", "HostEvents", "CLinux"]),
        .executableTarget(
            name: "echo-server", dependencies: ["Reactor", "Wire"], path: "examples/echo", exclude: ["README.md"]),
        .executableTarget(name: "embed-example", dependencies: ["FanoutServer"], path: "examples/embed"),
        .executableTarget(name: "fanout-readers", dependencies: ["CLinux"], path: "bench/Readers"),
        .testTarget(name: "WireTests", dependencies: ["Wire"]),
        .testTarget(name: "ReactorTests", dependencies: ["Reactor", "CLinux"]),
        .testTarget(name: "FanoutServerTests", dependencies: ["FanoutServer", "Reactor", "Wire"]),
        .testTarget(name: "FanoutClientTests", dependencies: ["FanoutClient", "Wire"]),
        .testTarget(name: "CommandTests", dependencies: ["fanout", "HostEvents", "FanoutServer"]),
        .testTarget(name: "SimulationTests", dependencies: ["FanoutServer", "Reactor", "Wire"]),
        .testTarget(name: "TidyTests"),
    ],
    swiftLanguageModes: [.v6]
)
