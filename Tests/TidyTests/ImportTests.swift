// Which module may import what: the dependencies that Package.swift cannot express.

import Testing

@Suite("Imports")
struct ImportTests {
    private let sources = SourceTree.sources

    /// What files of `module` import outside `allowed`.
    private func strays(_ module: String, allowed: Set<String>) -> [String] {
        sources.filter { $0.module == module }.flatMap { file in
            file.imports.filter { !allowed.contains($0) }.map { "\(file.path) imports \($0)" }
        }
    }

    @Test("the tree was found, and imports are seen through comments and strings")
    func found() {
        #expect(sources.contains { $0.module == "Wire" })
        #expect(sources.contains { $0.module == "Reactor" })
        let blanked = SwiftScanner.blanked(Array("a \"as! \\\" //\" b // c\nd".utf8))
        #expect(String(decoding: blanked, as: UTF8.self) == "a             b     \nd")
    }

    @Test("Wire imports nothing that does input or output")
    func wire() {
        #expect(strays("Wire", allowed: ["CDigest", "CVector", "Planted", "Synchronization", "Glibc"]) == [])
    }

    @Test("schemas are a function of bytes")
    func typeDefinition() {
        #expect(strays("TypeDefinition", allowed: ["Wire"]) == [])
    }

    @Test("Reactor knows the kernel and nothing of events")
    func reactor() {
        #expect(strays("Reactor", allowed: ["CIOUring", "CLinux", "Glibc", "Planted", "Synchronization"]) == [])
    }

    @Test("the database knows nothing of connections, and only it knows SQLite")
    func eventStore() {
        let allowed: Set = ["CLinux", "CSQLite", "Glibc", "Planted", "Synchronization", "Wire"]
        #expect(strays("EventStore", allowed: allowed) == [])
        let others = sources.filter { $0.module != "EventStore" && $0.imports.contains("CSQLite") }
        #expect(others.map(\.path) == [])
    }

    @Test("the report is a function of bytes")
    func loadReport() {
        #expect(strays("LoadReport", allowed: ["Wire", "Glibc"]) == [])
    }

    @Test("the load generator shares no code with the server beside Wire")
    func loadGenerator() {
        #expect(strays("ClientSockets", allowed: ["CLinux", "Glibc"]) == [])
        #expect(strays("LoadGenerator", allowed: ["CLinux", "ClientSockets", "FanoutClient", "Glibc", "Wire"]) == [])
    }

    @Test("only the io_uring backend and its receive buffers import CIOUring")
    func uring() {
        let places = sources.filter { file in
            let mayImport = file.name.hasPrefix("Uring") || file.name.hasPrefix("ReceiveBuffers")
            return file.imports.contains("CIOUring") && !(file.module == "Reactor" && mayImport)
        }
        #expect(places.map(\.path) == [])
    }

    @Test("no Foundation and no Dispatch outside the tests")
    func foundation() {
        let banned: Set = ["Foundation", "FoundationEssentials", "FoundationNetworking", "Dispatch", "_Concurrency"]
        let files = sources + SourceTree.files(["bench", "examples"])
        #expect(files.filter { !banned.isDisjoint(with: $0.imports) }.map(\.path) == [])
    }

    @Test("no task, actor or asynchronous function in the sources")
    func concurrency() {
        let pattern = #/\b(?:async|await|actor)\b|\bTask\s*[.({<]|\bTaskGroup\b|@MainActor/#
        let words = ["async", "await", "actor", "Task", "@MainActor"]
        #expect(sources.flatMap { $0.places(of: pattern, with: words) } == [])
    }
}
