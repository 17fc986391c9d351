/// How many connections each peer has: one address, or one user of the unix sockets.

import Reactor

/// Whose connections are counted together.
enum PeerKey: Hashable, CustomStringConvertible {
    /// One IPv4 address.
    case ipv4(UInt32)
    /// The first 64 bits of an IPv6 address: what one household or one host is given (RFC 6177, RFC 7421).
    case ipv6Network(UInt64)
    /// One user of unix sockets, by number. 65534, which stands for all that have no number here, counts as one.
    case user(UInt32)

    init(_ identity: PeerIdentity) {
        switch identity {
        case .process(_, let user): self = .user(user)
        case .address(.ipv4(let address, _)): self = .ipv4(address)
        // ::ffff:a.b.c.d is an IPv4 address (RFC 4291 section 2.5.5.2).
        case .address(.ipv6(let bytes, _)) where bytes.high == 0 && bytes.low >> 32 == 0xFFFF:
            self = .ipv4(UInt32(truncatingIfNeeded: bytes.low))
        case .address(.ipv6(let bytes, _)): self = .ipv6Network(bytes.high)
        case .address(.unix): preconditionFailure("a unix peer is named by its process")
        }
    }

    /// True exactly for addresses of this machine: 127.0.0.0/8 and ::1, with which nothing else shares its /64.
    var isLoopback: Bool {
        switch self {
        case .ipv4(let address): address >> 24 == 127
        case .ipv6Network(let high): high == 0
        case .user: false
        }
    }

    /// For people: `192.0.2.7`, `2001:db8::/64`, `user 1000`.
    var description: String {
        switch self {
        case .ipv4(let address): String(SocketAddress.ipv4(address, port: 0).description.dropLast(2))
        case .ipv6Network(let high):
            SocketAddress.ipv6(.init(high: high, low: 0), port: 0).description.dropFirst().dropLast(3) + "/64"
        case .user(let user): "user \(user)"
        }
    }
}

/// Counts open connections by peer. One entry for each peer that has any, four bytes for each slot. Every call is O(1).
struct PeerCounts {
    private struct Entry {
        var key: PeerKey
        var count: Int
    }

    private var places: [PeerKey: UInt32] = [:]
    private var entries: [Entry] = []
    private var freeEntries: [UInt32] = []
    /// The entry of each connection by its slot, as far as slots were counted.
    private var entryOfSlot: [UInt32] = []

    private static let none = UInt32.max

    /// Peers that have a connection.
    var peerCount: Int { places.count }

    /// Counts a connection; `slot` has none yet. Returns how many its peer has now.
    mutating func add(_ slot: UInt32, of key: PeerKey) -> Int {
        let missing = Int(slot) + 1 - entryOfSlot.count
        if missing > 0 { entryOfSlot.append(contentsOf: repeatElement(Self.none, count: missing)) }
        precondition(entryOfSlot[Int(slot)] == Self.none, "a connection is counted once")
        let place = places[key] ?? makeEntry(key)
        entryOfSlot[Int(slot)] = place
        entries[Int(place)].count += 1
        return entries[Int(place)].count
    }

    /// The connection is over. Nothing happens where it was not counted.
    mutating func remove(_ slot: UInt32) {
        guard let place = place(slot) else { return }
        entryOfSlot[Int(slot)] = Self.none
        entries[Int(place)].count -= 1
        guard entries[Int(place)].count == 0 else { return }
        places[entries[Int(place)].key] = nil
        freeEntries.append(place)
    }

    /// Whose connection it is, and how many that peer has; nil where it was not counted.
    func standing(_ slot: UInt32) -> (key: PeerKey, count: Int)? {
        place(slot).map { (entries[Int($0)].key, entries[Int($0)].count) }
    }

    private func place(_ slot: UInt32) -> UInt32? {
        guard Int(slot) < entryOfSlot.count, entryOfSlot[Int(slot)] != Self.none else { return nil }
        return entryOfSlot[Int(slot)]
    }

    private mutating func makeEntry(_ key: PeerKey) -> UInt32 {
        let place = freeEntries.popLast() ?? UInt32(entries.count)
        if Int(place) == entries.count {
            entries.append(Entry(key: key, count: 0))
        } else {
            entries[Int(place)].key = key
        }
        places[key] = place
        return place
    }
}
