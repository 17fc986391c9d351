/// Finds records of a table by their digests.

import Reactor
import Wire

/// Open addressing over the places of somebody else's records, at most half full. Four bytes a slot: each step of a
/// search asks the owner for the digest at a place.
///
/// Publishers choose what is digested, so slots are drawn with secret numbers: nobody can make keys that all meet.
struct DigestIndex: ~Copyable {
    private static let none = UInt32.max

    private var slots: UnsafeMutablePointer<UInt32>
    private let capacity: Int
    private let secrets: (UInt64, UInt64)
    private(set) var count = 0

    /// An index for `places` records at most, places counted from 0.
    init(places: Int, secrets: (UInt64, UInt64)) {
        var capacity = Self.placesMin
        while capacity < places * 2 { capacity *= 2 }
        self.capacity = capacity
        self.secrets = secrets
        slots = .allocate(capacity: capacity)
        slots.initialize(repeating: Self.none, count: capacity)
    }

    deinit { slots.deallocate() }

    /// Places that the smallest table has.
    static let placesMin = 16

    /// What it takes.
    var bytesHeld: Int { capacity * MemoryLayout<UInt32>.stride }

    /// What so many records take, with an index.
    static func bytes(places: Int, of recordBytes: Int) -> Int {
        var capacity = placesMin
        while capacity < places * 2 { capacity *= 2 }
        return places * recordBytes + capacity * MemoryLayout<UInt32>.stride
    }

    /// How many places a table may have that doubles from the smallest on: as many as its records and their index fit
    /// into `bytesMax`, `countMax` at most, and those of the smallest in any case.
    static func placesMax(of recordBytes: Int, bytesMax: Int, countMax: Int) -> Int {
        var most = min(placesMin, countMax)
        while most < countMax, bytes(places: min(most * 2, countMax), of: recordBytes) <= bytesMax {
            most = min(most * 2, countMax)
        }
        return most
    }

    private func home(_ digest: ContentDigest) -> Int {
        let mixed = (digest.low &+ secrets.0).multipliedFullWidth(by: digest.high ^ secrets.1)
        return Int(truncatingIfNeeded: mixed.high ^ mixed.low &>> 29) & (capacity - 1)
    }

    /// The place of the record with this digest. O(1) expected.
    func find(_ digest: ContentDigest, at digests: (UInt32) -> ContentDigest) -> UInt32? {
        var slot = home(digest)
        while slots[slot] != Self.none {
            if digests(slots[slot]) == digest { return slots[slot] }
            slot = (slot + 1) & (capacity - 1)
        }
        return nil
    }

    /// Adds a record. No other one may have its digest, and there must be room.
    mutating func insert(_ digest: ContentDigest, place: UInt32) {
        precondition(count * 2 < capacity, "an index of digests is fuller than it may be")
        var slot = home(digest)
        while slots[slot] != Self.none { slot = (slot + 1) & (capacity - 1) }
        slots[slot] = place
        count += 1
    }

    /// Takes the record at a place out, if it is there. Those behind it move up, so that nothing is left of it. O(1)
    /// expected.
    mutating func remove(_ digest: ContentDigest, place: UInt32, at digests: (UInt32) -> ContentDigest) {
        var slot = home(digest)
        while slots[slot] != place {
            if slots[slot] == Self.none { return }
            slot = (slot + 1) & (capacity - 1)
        }
        count -= 1
        var hole = slot
        while true {
            slot = (slot + 1) & (capacity - 1)
            guard slots[slot] != Self.none else { break }
            // It may move up if its home is not behind the hole.
            let distance = (slot - home(digests(slots[slot]))) & (capacity - 1)
            guard distance >= (slot - hole) & (capacity - 1) else { continue }
            slots[hole] = slots[slot]
            hole = slot
        }
        slots[hole] = Self.none
    }
}
