// Where numbering goes on after an unclean end, when something knows how far numbers were used.

import Foundation
import Testing
import Wire

@testable import EventStore

@Suite("Numbers that were used")
struct UsedTests {
    private static let reserved = StoreLimits.reservedNumbers

    private static func said(_ epoch: UInt64, _ seq: UInt64) -> UsedNumber {
        UsedNumber(epoch: Epoch(rawValue: epoch), seq: seq)
    }

    /// A folder whose last server was killed when it had stored three events.
    private static func killed() throws -> TestFolder {
        let folder = try TestFolder()
        try folder.open { try $0.publish(["a", "b", "c"]) }
        return folder
    }

    @Test("numbers go on right behind those that were used, and what of them is not stored is known to be lost")
    func believed() throws {
        for used in [3, 4, 1000, Self.reserved] as [UInt64] {
            let folder = try Self.killed()
            defer { folder.remove() }
            try folder.open(epoch: 2, used: Self.said(1, used)) { store throws in
                #expect(store.opening.beginning == .uncleanEnd)
                #expect(store.opening.head == used && store.reserved == used + Self.reserved)
                let first = Incarnation(epoch: Epoch(rawValue: 1), firstSeq: 1, lastSeq: 3, usedSeq: used)
                #expect(store.epochs == Epochs(present: Epoch(rawValue: 2), firstSeq: used + 1, past: [first]))
                #expect(first.lost == (used > 3 ? 4...used : nil))
                try store.publish(["d"], at: used + 1)
                #expect(try store.everything().last == "\(used + 1) events d")
                try store.close(used: used + 1, isWhole: true)
            }
            // It is kept in the file.
            try folder.open(epoch: 3) { store throws in
                #expect(store.opening.beginning == .goesOn && store.epochs.past[0].usedSeq == used)
            }
        }
    }

    @Test("what is said of another numbering, of less than is stored, or of more than was reserved, is not believed")
    func notBelieved() throws {
        let lies: [(epoch: UInt64, used: UInt64)] = [
            (2, 4), (0, 4), (1, 2), (1, 0), (1, Self.reserved + 1), (1, .max), (1, .max - 1),
        ]
        for (epoch, used) in lies {
            let folder = try Self.killed()
            defer { folder.remove() }
            try folder.open(epoch: 2, used: Self.said(epoch, used)) { store throws in
                #expect(store.opening.head == Self.reserved, "\(epoch) \(used)")
                #expect(store.epochs.past[0].lost == nil)
            }
        }
    }

    @Test("a start that ended before it said anything has used no number: what was said before it is believed")
    func startsThatCameToNothing() throws {
        let folder = try Self.killed()
        defer { folder.remove() }
        for epoch in UInt64(2)...5 {
            try folder.open(epoch: epoch, used: Self.said(1, 7)) { store throws in
                #expect(store.opening.head == 7)
                #expect(store.epochs.past.compactMap(\.lost) == [4...7])
            }
        }
        // One that went on elsewhere, and did not say so here, may have used more.
        try folder.open(epoch: 6) { #expect($0.opening.head == 7 + Self.reserved) }
        try folder.open(epoch: 7, used: Self.said(1, 7)) { #expect($0.opening.head == 7 + 2 * Self.reserved) }
    }

    @Test("after a clean end nothing that is said counts, nor of a copy, nor without the file beside the database")
    func otherEnds() throws {
        let clean = try TestFolder()
        defer { clean.remove() }
        try clean.open { store throws in
            try store.publish(["a"])
            try store.close(used: 1, isWhole: true)
        }
        try clean.open(epoch: 2, used: Self.said(1, 50)) { store throws in
            #expect(store.opening.beginning == .goesOn && store.opening.head == 1)
        }
        let copied = try Self.killed()
        defer { copied.remove() }
        try FileManager.default.copyItem(atPath: copied.database, toPath: "\(copied.database)-copy")
        try FileManager.default.removeItem(atPath: copied.database)
        try FileManager.default.moveItem(atPath: "\(copied.database)-copy", toPath: copied.database)
        try copied.open(epoch: 2, used: Self.said(1, 50)) { #expect($0.opening.head == Self.reserved) }
        let bare = try Self.killed()
        defer { bare.remove() }
        try FileManager.default.removeItem(atPath: "\(bare.path)/data/high-water")
        try bare.open(epoch: 2, used: Self.said(1, 50)) { #expect($0.epochs.past[0].lost == nil) }
    }

    @Test("a file that says more was lost than there is room for loses nothing of what followed")
    func tamperedLoss() throws {
        let folder = try Self.killed()
        defer { folder.remove() }
        try folder.open(epoch: 2, used: Self.said(1, 7)) { try $0.publish(["d"], at: 8) }
        let database = try Database(path: folder.database, vfs: nil)
        try database.execute("UPDATE incarnation SET used_seq = 4000", "test")
        try database.close()
        try folder.open(epoch: 3, used: Self.said(2, 8)) { #expect($0.epochs.past.compactMap(\.lost) == [4...7]) }
    }
}
