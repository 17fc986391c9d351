// swift-tools-version: 6.2
import PackageDescription

// Fuzzers for Wire and TypeDefinition, a package of their own because they need unsafe flags, which a package that
// others build may not have. `package` declarations are visible in one package only, so Wire and what it imports are
// compiled here once more, as targets of this package, from the same files: folders in Sources are symbolic links to
// them. That also instruments Wire for coverage and for AddressSanitizer without a word about either in the package
// proper.
//
// Only these two are instrumented for coverage: what the fuzzer looks for is new ways through them, not through the
// readers that Wire is compared with. Nothing of them may be inlined into them, or it would be lost to the count.
let sanitize = ["-sanitize=fuzzer,address"]
let wireSettings: [SwiftSetting] = [.unsafeFlags(sanitize + ["-disable-cmo"])]

let package = Package(
    name: "fanout-fuzz",
    targets: [
        .target(name: "CDigest", linkerSettings: [.linkedLibrary(":libcrypto.a")]),
        .target(name: "CLibFuzzer"),
        .target(name: "CVector"),
        .target(name: "Planted"),
        .target(name: "Wire", dependencies: ["CDigest", "CVector", "Planted"], swiftSettings: wireSettings),
        .target(name: "TypeDefinition", dependencies: ["Wire"], swiftSettings: wireSettings),
        .executableTarget(
            name: "fuzz", dependencies: ["TypeDefinition", "Wire", "CLibFuzzer"], path: "Sources/Fuzz",
            swiftSettings: [.unsafeFlags(["-sanitize=address"])],
            // gold crashes on the sanitizers' sections.
            linkerSettings: [.unsafeFlags(sanitize + ["-use-ld=lld"])]),
    ],
    swiftLanguageModes: [.v6]
)
