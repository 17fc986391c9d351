// Retention, and what keeps the file small.

import CTestDisk
import Testing

@testable import EventStore

@Suite("Retention")
struct RetentionTests {
    /// Steps until a pass finds nothing to do; what was removed, and by how many steps.
    @discardableResult
    private static func retain(_ store: EventStore, clockMs: Int64) throws -> (events: Int, steps: Int) {
        var events = 0
        for steps in 1...10_000 {
            let step = try store.retain(clockMs: clockMs)
            #expect(step.events <= StoreLimits.pageRowsMax)
            events += step.events
            if !step.isMore, step.events == 0, step.removed.isEmpty { return (events, steps) }
        }
        Issue.record("retention does not end")
        return (events, 10_000)
    }

    private static func held(_ store: EventStore, _ channel: String) throws -> [UInt64] {
        try store.read(StoreQuery(.after(0), channels: [channel])).seqs
    }

    @Test("each channel keeps its own number of events, and says what is gone")
    func counts() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            store.setRetention(RetentionLimits(events: 3), of: "a")
            store.setRetention(RetentionLimits(events: 0), of: "none")
            for _ in 0..<5 {
                for channel in ["a", "b", "none"] { try store.publish(["x"], on: channel) }
            }
            #expect(try Self.retain(store, clockMs: 0).events == 7)
            #expect(try Self.held(store, "a") == [7, 10, 13])
            #expect(try Self.held(store, "b") == [2, 5, 8, 11, 14])
            #expect(try Self.held(store, "none") == [])
            let channel = try #require(store.channel("a"))
            #expect((channel.firstSeq, channel.lastSeq, channel.prunedSeq, channel.events) == (7, 13, 4, 3))
            let none = try #require(store.channel("none"))
            #expect((none.firstSeq, none.lastSeq, none.prunedSeq, none.bytes) == (0, 15, 15, 0))
            try store.checkIntegrity()
        }
    }

    @Test("bytes of lines are counted, and events go until the channel is within")
    func bytes() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            store.setRetention(RetentionLimits(bytes: 100), of: "a")
            for size in [60, 30, 50, 50, 1] { try store.publish([String(repeating: "x", count: size)], on: "a") }
            try Self.retain(store, clockMs: 0)
            #expect(try Self.held(store, "a") == [4, 5])
            #expect(store.channel("a")?.bytes == 51)
        }
    }

    @Test("events go when they are older than their channel keeps, to the millisecond")
    func ages() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            store.setRetention(RetentionLimits(ageMs: 1000), of: "a")
            for time in [0, 500, 499, 2000] as [Int64] { try store.publish(["x"], on: "a", timeMs: time) }
            try Self.retain(store, clockMs: 1000)
            #expect(try Self.held(store, "a") == [1, 2, 3, 4])
            try Self.retain(store, clockMs: 1001)
            #expect(try Self.held(store, "a") == [2, 3, 4])
            try Self.retain(store, clockMs: 1500)
            #expect(try Self.held(store, "a") == [2, 3, 4])
            try Self.retain(store, clockMs: 1501)
            #expect(try Self.held(store, "a") == [4])
        }
    }

    @Test("events from a clock that was wrong go with those behind them, and hold none of them")
    func future() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            store.setRetention(RetentionLimits(ageMs: 100), of: "events")
            for timeMs in [900_000, 1000, 800_000, 700_000, 1050, 600_000] as [Int64] {
                try store.publish(["x"], timeMs: timeMs)
            }
            try Self.retain(store, clockMs: 1100)
            #expect(try Self.held(store, "events") == [1, 2, 3, 4, 5, 6])
            try Self.retain(store, clockMs: 1101)
            #expect(try Self.held(store, "events") == [3, 4, 5, 6])
            try Self.retain(store, clockMs: 1151)
            #expect(try Self.held(store, "events") == [6])
            #expect(store.channel("events")?.firstSeq == 6)
            try store.checkIntegrity()
        }
    }

    @Test("much is removed in small steps, which survive a restart in their midst")
    func steps() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        var configuration = disk.configuration()
        configuration.retention = RetentionLimits(events: 100)
        try disk.open(configuration) { store throws in
            for _ in 0..<4 { try store.publish((0..<1000).map { "\($0)" }) }
            #expect(try store.retain(clockMs: 0).events == 500)
            #expect(try store.retain(clockMs: 0).isMore)
        }
        try disk.open(configuration) { store throws in
            #expect(store.channel("events")?.events == 3000)
            let rest = try Self.retain(store, clockMs: 0)
            #expect(rest.events == 2900)
            #expect(rest.steps >= 6)
            #expect(store.channel("events")?.prunedSeq == 3900)
            try store.checkIntegrity()
        }
    }

    @Test("a step of long lines stops at some bytes")
    func longLines() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            store.setRetention(RetentionLimits(events: 0), of: "events")
            let line = String(repeating: "x", count: 250_000)
            for _ in 0..<40 { try store.publish([line]) }
            let step = try store.retain(clockMs: 0)
            #expect(step.isMore)
            #expect((10...20).contains(step.events))
        }
    }

    @Test("an ended channel is gone with its last event, its name is free, and what was published on it is remembered")
    func endedChannels() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            store.setRetention(RetentionLimits(ageMs: 1000), of: "a")
            try store.publish(["x"], on: "a", timeMs: 0, .key(1))
            try store.publish(["y"], on: "a", timeMs: 0, .producer(1, last: 1))
            try store.setEnded(true, "a")
            try Self.retain(store, clockMs: 1000)
            #expect(store.channel("a")?.isEnded == true)
            try Self.retain(store, clockMs: 1001)
            #expect(store.channel("a") == nil)
            // The number of the last event is not forgotten with its channel.
            #expect(try store.database.integer("SELECT head FROM log") == 2)
            #expect(try store.keys() == ["1 1 1-1"])
            #expect(try store.storedProducers().map(\.range.last) == [2])
            try store.publish(["z"], on: "a", timeMs: 1001)
            #expect(store.channel("a")?.isEnded == false)
            try store.checkIntegrity()
        }
    }

    @Test("a checkpoint empties the log, and pages that are not needed go back in steps")
    func fileSize() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            for _ in 0..<20 { try store.publish((0..<1000).map { _ in String(repeating: "x", count: 500) }) }
            #expect(store.walFrames > 2000)
            try store.checkpoint(emptying: true)
            #expect(store.walFrames == 0)
            #expect(disk.size(TestDisk.log) == 0)
            #expect(store.syncedHead == store.head)
            let full = disk.size(TestDisk.database)
            #expect(try !store.vacuum())
            store.setRetention(RetentionLimits(events: 100), of: "events")
            try Self.retain(store, clockMs: 0)
            var steps = 1
            while try store.vacuum() { steps += 1 }
            try store.checkpoint()
            #expect(steps > 5)
            #expect(disk.size(TestDisk.database) < full / 2)
            try store.checkIntegrity()
        }
    }
}
