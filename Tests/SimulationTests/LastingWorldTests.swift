/// The property of states: whatever happens in between, a reader's model of the state is the state.

import Foundation
import Testing

/// `FANOUT_SIMULATION_SEEDS` and `FANOUT_SIMULATION_SEED` say how many worlds, or which one, as for the others.
@Suite("States in the simulation", .serialized)
struct LastingWorldTests {
    private static let environment = ProcessInfo.processInfo.environment
    #if DEBUG
        private static let seedsUsual: UInt64 = 100
    #else
        private static let seedsUsual: UInt64 = 2000
    #endif
    private static let seeds: Range<UInt64> = {
        if let seed = environment["FANOUT_SIMULATION_SEED"].flatMap(UInt64.init) { return seed..<seed + 1 }
        let first = environment["FANOUT_SIMULATION_FIRST"].flatMap(UInt64.init) ?? 0
        return first..<first + (environment["FANOUT_SIMULATION_SEEDS"].flatMap(UInt64.init) ?? seedsUsual)
    }()

    @Test("a model kept from snapshots, deltas and what conflation leaves is the state, whatever happens in between")
    func models() throws {
        var total = LastingSightings()
        var failures = 0
        for seed in Self.seeds where failures < 3 {
            CrashNote.set("simulation: stopped in seed \(seed) with state\n")
            let world = try LastingWorld(seed: seed)
            world.sightings = total
            let faults = world.run()
            total = world.sightings
            if faults.isEmpty { continue }
            failures += 1
            Issue.record(
                """
                seed \(seed), with state: \(faults.joined(separator: "\n"))
                again with: FANOUT_SIMULATION_SEED=\(seed) swift test --filter LastingWorldTests
                """)
        }
        CrashNote.set("")
        print(total.line)
        guard Self.seeds.count >= 100, failures == 0 else { return }
        for (name, count) in total.all { #expect(count > 0, "no world with state met '\(name)'") }
    }

    @Test("the same seed gives the same run, byte for byte", .enabled(if: seeds.count > 1))
    func determinism() throws {
        for seed in Self.seeds.prefix(10) {
            let first = try LastingWorld(seed: seed)
            let second = try LastingWorld(seed: seed)
            #expect(first.run() == second.run(), "seed \(seed)")
            #expect(first.kernel.trace.hash == second.kernel.trace.hash, "seed \(seed)")
        }
    }
}
