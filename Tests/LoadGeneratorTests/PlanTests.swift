/// Which plans are refused, and who reads how.

import ClientSockets
import Testing

@testable import LoadGenerator

@Suite("Plans")
struct PlanTests {
    private func plan(_ readers: Int) throws -> LoadPlan {
        var plan = LoadPlan()
        plan.readers = [(try Place("tcp://127.0.0.1:1").route(.jsonl), readers)]
        plan.publishing = try Place("http://127.0.0.1:1").publishRoute()
        return plan
    }

    @Test("shares of slow readers are exact and spread out")
    func roles() throws {
        var plan = try plan(1_000)
        plan.stalledShare = 0.1
        plan.crawlingShare = 0.01
        plan.churnPerSecond = 20
        let run = try LoadRun(plan)
        let roles = (0..<1_000).map { run.readers[$0].role }
        #expect(roles.count { $0 == .churning } == 20)
        #expect((98...100).contains(roles.count { $0 == .stalled }))
        #expect((9...10).contains(roles.count { $0 == .crawling }))
        for start in stride(from: 0, to: 900, by: 100) {
            #expect((9...11).contains(roles[start..<(start + 100)].count { $0 == .stalled }))
        }
    }

    @Test("each plan that cannot be carried out is refused")
    func refusals() throws {
        func refused(_ change: (inout LoadPlan) -> Void) throws {
            var plan = try plan(1)
            change(&plan)
            #expect(throws: LoadFailure.self) { try LoadRun(plan) }
        }
        try refused { $0.publishers = 65 }
        try refused { $0.bytes = 63 }
        try refused { $0.burst = 0 }
        try refused {
            $0.stalledShare = 0.9; $0.crawlingShare = 0.2
        }
        try refused { $0.readers[0].count = 10_000_000 }
        try refused {
            $0.readers = []; $0.publishing = nil
        }
        try refused {
            $0.readers = []; $0.isStorm = true
        }
        try refused { $0.serverPIDs = [4_194_300] }
        try refused {
            $0.behind = 1; $0.publishing = nil
        }
        try refused {
            $0.behind = 1; $0.publishing = .input
        }
        try refused {
            $0.behind = 1; $0.readers = []
        }
        try refused {
            $0.behind = 1; $0.isStorm = true
        }
        try refused {
            $0.behind = 1; $0.churnPerSecond = 1
        }
        try refused {
            $0.behind = 1; $0.readers[0].route.dialect = .redis
        }
        try refused { $0.wantsSnapshot = true }
        try refused { $0.leadSeconds = 1 }
        try refused { $0.readers = Array(repeating: $0.readers[0], count: 300) }
        try refused {
            $0.channels = Array(repeating: "a", count: 1_000_000); $0.bytes = 1_000
        }
        try refused {
            $0.channels = Array(repeating: "a", count: 100_000); $0.warm = 100_000
        }
    }

    @Test("warming is counted for each reader, whatever the number of channels and publishers")
    func warming() throws {
        var plan = try plan(100)
        plan.warm = 40
        plan.publishers = 3
        plan.channels = ["a", "b"]
        #expect(plan.firstMeasured == 28)
        #expect(plan.warmTotal == 84)
        plan.readers = []
        #expect(plan.warmTotal == 0)
    }

    @Test("what readers are behind by comes before the warming, and is not measured")
    func behind() throws {
        var plan = try plan(100)
        plan.behind = 1_000
        plan.warm = 40
        plan.publishers = 3
        plan.channels = ["a", "b"]
        #expect(plan.behindTotal == 334 * 2 * 3)
        #expect(plan.firstMeasured == 334 * 2 + 28)
        #expect(try LoadRun(plan).plan.behind == 1_000)
        plan.bytes = 262_144
        #expect(plan.fillBatch == 2)
    }
}
