/// Worlds of channels that keep state, seed after seed.

import Foundation
import Testing

@Suite("States in the simulation", .serialized)
struct KeptWorldTests {
    #if DEBUG
        private static let seedsUsual: UInt64 = 60
    #else
        private static let seedsUsual: UInt64 = 2000
    #endif
    private static let environment = ProcessInfo.processInfo.environment
    /// The bug that is planted in this process, if any; Tests/planted.sh reads what is printed then.
    private static let bug = environment["FANOUT_PLANTED_BUG"].flatMap { $0.isEmpty ? nil : $0 }
    private static let seeds: Range<UInt64> = {
        if let seed = environment["FANOUT_SIMULATION_SEED"].flatMap(UInt64.init) { return seed..<seed + 1 }
        let first = environment["FANOUT_SIMULATION_FIRST"].flatMap(UInt64.init) ?? 0
        return first..<first + (environment["FANOUT_SIMULATION_SEEDS"].flatMap(UInt64.init) ?? seedsUsual)
    }()

    private static func replay(_ seed: UInt64) -> String {
        bug.map { "Tests/planted.sh replay \(seed) \($0)" }
            ?? "FANOUT_SIMULATION_SEED=\(seed) swift test --filter KeptWorldTests"
    }

    @Test("whoever knows a state knows what is true, whatever happened on the way")
    func worlds() throws {
        var met: [String: Int] = [:]
        var failures = 0
        for seed in Self.seeds where failures < (Self.bug == nil ? 3 : 1) {
            CrashNote.set("simulation: stopped in seed \(seed) of states; again with: \(Self.replay(seed))\n")
            let world = try KeptWorld(seed: seed)
            let faults = world.run()
            met.merge(world.met, uniquingKeysWith: +)
            if faults.isEmpty { continue }
            failures += 1
            if let bug = Self.bug { print("planted: \(bug): seed \(seed): \(faults[0].prefix(160))") }
            Issue.record(
                "seed \(seed) of states: \(faults.joined(separator: "\n  "))\nagain with: \(Self.replay(seed))")
        }
        CrashNote.set("")
        print("states: \(met.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))")
        guard Self.bug == nil, Self.seeds.count >= 60, failures == 0 else { return }
        for name in ["snapshots", "conflations", "resnapshots", "gaps", "comebacks", "byes"] {
            #expect(met[name] ?? 0 > 0, "no world met \(name)")
        }
    }
}
