/// The whole server in the simulation, seed after seed.

import Foundation
import Testing

/// `FANOUT_SIMULATION_SEEDS` says how many worlds; `FANOUT_SIMULATION_SEED` names the one to run. Every fourth seed
/// makes one with a database, too; with `FANOUT_SIMULATION_KIND=database` every seed does, and nothing else.
@Suite("The server in the simulation", .serialized)
struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment
    /// The bug that is planted in this process, if any; Tests/planted.sh reads what is printed then.
    private static let bug = environment["FANOUT_PLANTED_BUG"].flatMap { $0.isEmpty ? nil : $0 }
    #if DEBUG
        private static let seedsUsual: UInt64 = 200
        private static let seedsTwice = 25
    #else
        private static let seedsUsual: UInt64 = 2000
        private static let seedsTwice = 200
    #endif
    private static let seeds: Range<UInt64> = {
        if let seed = environment["FANOUT_SIMULATION_SEED"].flatMap(UInt64.init) { return seed..<seed + 1 }
        let first = environment["FANOUT_SIMULATION_FIRST"].flatMap(UInt64.init) ?? 0
        return first..<first + (environment["FANOUT_SIMULATION_SEEDS"].flatMap(UInt64.init) ?? seedsUsual)
    }()

    private static let isAllStored = environment["FANOUT_SIMULATION_KIND"] == "database"

    private static func isStored(_ seed: UInt64) -> Bool { isAllStored || seed % 4 == 0 }

    private static func replay(_ seed: UInt64) -> String {
        bug.map { "Tests/planted.sh replay \(seed) \($0)" }
            ?? "FANOUT_SIMULATION_SEED=\(seed) swift test --filter SimulationTests"
    }

    @Test("every reader gets what is his, whatever the kernel, the network and the others do")
    func worlds() throws {
        var total = Sightings()
        var stored = StoredSightings()
        var failures = 0
        for seed in Self.seeds where failures < (Self.bug == nil ? 3 : 1) {
            CrashNote.set("simulation: stopped in seed \(seed); again with: \(Self.replay(seed))\n")
            var faults: [String] = []
            if !Self.isAllStored {
                let world = try World(seed: seed)
                world.sightings = total
                faults = world.run()
                total = world.sightings
            }
            if faults.isEmpty, Self.isStored(seed) {
                let world = try StoredWorld(seed: seed)
                world.sightings = stored
                faults = world.run()
                stored = world.sightings
            }
            if faults.isEmpty { continue }
            failures += 1
            if let bug = Self.bug { print("planted: \(bug): seed \(seed): \(faults[0].prefix(160))") }
            Issue.record("seed \(seed): \(faults.joined(separator: "\n  "))\nagain with: \(Self.replay(seed))")
        }
        CrashNote.set("")
        print(total.line)
        print(stored.line)
        guard Self.bug == nil, Self.seeds.count >= 2000, failures == 0 else { return }
        for (name, count) in total.all where !Self.isAllStored { #expect(count > 0, "no world met '\(name)'") }
        for (name, count) in stored.all { #expect(count > 0, "no world with a database met '\(name)'") }
    }

    @Test("the same seed gives the same run, byte for byte", .enabled(if: seeds.count > 1))
    func determinism() throws {
        var hashes: Set<UInt64> = []
        let few = Self.seeds.prefix(Self.seedsTwice)
        for seed in few {
            let first = try World(seed: seed)
            let second = try World(seed: seed)
            #expect(first.run() == second.run(), "seed \(seed)")
            #expect(first.kernel.trace.hash == second.kernel.trace.hash, "seed \(seed)")
            #expect(first.kernel.now == second.kernel.now, "seed \(seed)")
            hashes.insert(first.kernel.trace.hash)
        }
        #expect(hashes.count == few.count)
        for seed in few where Self.isStored(seed) {
            let first = try StoredWorld(seed: seed)
            let second = try StoredWorld(seed: seed)
            #expect(first.run() == second.run(), "seed \(seed)")
            #expect(first.kernel.trace.hash == second.kernel.trace.hash, "seed \(seed), with a database")
            #expect(first.kernel.now == second.kernel.now, "seed \(seed), with a database")
        }
    }
}
