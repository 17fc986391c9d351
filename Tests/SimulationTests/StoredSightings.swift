/// What the worlds with a database must have met, taken together, to have tested anything.

@testable import EventStore
@testable import FanoutServer

/// Counts over all such worlds of a run.
struct StoredSightings {
    var worlds = 0
    /// Covers every world's trace.
    var hash: UInt64 = 0
    var steps = 0
    var turns = 0
    var events = 0
    var heldEvents = 0
    var rows = 0
    var told = 0
    var answers = 0
    var duplicates = 0
    var producersBack = 0
    var comebacks = 0
    var numbered = 0
    var lost = 0
    var openingsCut = 0
    var pages = 0
    var pagesDeep = 0
    var acks: [StoredLevel: Int] = [:]
    var refusals: [String: Int] = [:]
    var gaps: [String: Int] = [:]
    var byes: [UInt64: Int] = [:]
    var ends: [StoredEnd: Int] = [:]
    var beginnings: [String: Int] = [:]
    var troubles: [StoredDisk.Trouble: Int] = [:]

    mutating func note(_ world: StoredWorld) {
        worlds += 1
        hash = (hash ^ world.kernel.trace.hash) &* 0x9e37_79b9_7f4a_7c15
        numbered += world.ledger.events.count
        lost += world.ledger.events.count { $0.lostWith != nil }
    }

    /// Everything by name, in one order.
    var all: [(name: String, count: Int)] {
        var all = [
            ("event", events), ("held", heldEvents), ("state-row", rows), ("answer", answers),
            ("duplicate", duplicates), ("producer-back", producersBack),
            ("opening-cut", openingsCut), ("history", pages), ("history-deep", pagesDeep), ("comeback", comebacks),
            ("numbered", numbered), ("lost", lost),
        ]
        all += StoredLevel.allCases.dropFirst().map { ("ack-\($0)", acks[$0] ?? 0) }
        all += ["pruned", "rewound", "lagged"].map { ("gap-\($0)", gaps[$0] ?? 0) }
        all += [1001, 1012, 4008].map { ("bye-\($0)", byes[$0] ?? 0) }
        all += [StoredEnd.stopped, .killed, .powerCut].map { ("\($0)", ends[$0] ?? 0) }
        all += StoredDisk.Trouble.allCases.map { ("disk-\($0)", troubles[$0] ?? 0) }
        all += ["storage_full", "storage_readonly"].map { ($0, refusals[$0] ?? 0) }
        return all
    }

    var line: String {
        "simulation: \(worlds) worlds with a database, \(steps) steps, \(turns) turns, "
            + "hash \(String(hash, radix: 16)); "
            + all.map { "\($0.name) \($0.count)" }.joined(separator: ", ")
    }
}
