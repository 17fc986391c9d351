/// The whole server in the simulation, seed after seed.

import Foundation
import Testing

/// `FANOUT_SIMULATION_SEEDS` says how many worlds; `FANOUT_SIMULATION_SEED` names the one to run.
@Suite("The server in the simulation", .serialized)
struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let seeds: Range<UInt64> = {
        if let seed = environment["FANOUT_SIMULATION_SEED"].flatMap(UInt64.init) { return seed..<seed + 1 }
        let first = environment["FANOUT_SIMULATION_FIRST"].flatMap(UInt64.init) ?? 0
        return first..<first + (environment["FANOUT_SIMULATION_SEEDS"].flatMap(UInt64.init) ?? 1000)
    }()

    private static func replay(_ seed: UInt64) -> String {
        "FANOUT_SIMULATION_SEED=\(seed) swift test --filter SimulationTests"
    }

    @Test("every reader gets what is his, whatever the kernel, the network and the others do")
    func worlds() throws {
        var total = Sightings()
        var failures = 0
        for seed in Self.seeds where failures < 3 {
            CrashNote.set("simulation: stopped in seed \(seed); again with: \(Self.replay(seed))\n")
            let world = try World(seed: seed)
            world.sightings = total
            let faults = world.run()
            total = world.sightings
            if faults.isEmpty { continue }
            failures += 1
            Issue.record("seed \(seed): \(faults.joined(separator: "\n  "))\nagain with: \(Self.replay(seed))")
        }
        CrashNote.set("")
        print(total.line)
        guard Self.seeds.count >= 500, failures == 0 else { return }
        for (name, count) in total.all { #expect(count > 0, "no world met '\(name)'") }
    }

    @Test("the same seed gives the same run, byte for byte", .enabled(if: seeds.count > 1))
    func determinism() throws {
        var hashes: Set<UInt64> = []
        let few = Self.seeds.prefix(25)
        for seed in few {
            let first = try World(seed: seed)
            let second = try World(seed: seed)
            #expect(first.run() == second.run(), "seed \(seed)")
            #expect(first.kernel.trace.hash == second.kernel.trace.hash, "seed \(seed)")
            #expect(first.kernel.now == second.kernel.now, "seed \(seed)")
            hashes.insert(first.kernel.trace.hash)
        }
        #expect(hashes.count == few.count)
    }
}
