/// Subscribers, grouped by what they asked for, so that an event costs what its own readers cost.

import Wire

/// Subscribers that asked for exactly the same.
struct SubscriberGroup {
    /// What makes them the same; the key of the table.
    var key: [UInt8]
    /// Each once; none means every channel.
    var patterns: [ChannelPattern]
    /// Kinds, unescaped and sorted; empty means all.
    var types: [[UInt8]]
    /// The member that names the kind of their `$` records.
    var discriminator: [UInt8]
    var onLag: Configuration.LagPolicy
    var limits: Configuration.LagLimits
    /// Connection slots by wire format.
    var members: InlineArray<3, SlotList> = InlineArray(repeating: SlotList())

    var memberCount: Int { members[0].count + members[1].count + members[2].count }

    /// Whether an event whose kind is written like this is for them. Allocates nothing.
    func accepts(_ kind: Span<UInt8>, isEscaped: Bool) -> Bool {
        for type in types where JSONText.matches(kind, escaped: isEscaped, type.span) { return true }
        return false
    }

    func reads(_ channel: ChannelName) -> Bool {
        patterns.isEmpty || patterns.contains { $0.matches(channel) }
    }
}

/// All groups. Attaching and detaching a subscriber of an existing group is O(1); a new group of literal channels
/// costs a look-up for each, one with wildcards a walk over the channels that exist.
struct SubscriptionTable: ~Copyable {
    /// The groups, by index. A group without members is free.
    private(set) var groups: UnsafeMutablePointer<SubscriberGroup>
    private var capacity = 16
    private var count = 0
    private var freeGroups: [UInt32] = []
    private var byKey: [[UInt8]: UInt32] = [:]
    /// Groups that name a channel literally, for channels that do not exist yet.
    private var byLiteral: [ChannelName: [UInt32]] = [:]
    /// Groups with at least one wildcard pattern.
    private var withWildcards: [UInt32] = []

    init() { groups = .allocate(capacity: capacity) }

    deinit {
        for index in 0..<count {
            for format in 0..<3 { groups[index].members[format].deallocate() }
        }
        groups.deinitialize(count: count)
        groups.deallocate()
    }

    subscript(index: UInt32) -> SubscriberGroup {
        unsafeAddress { UnsafePointer(groups + Int(index)) }
        unsafeMutableAddress { groups + Int(index) }
    }

    /// The group with this key, if anybody is in it.
    func group(forKey key: [UInt8]) -> UInt32? { byKey[key] }

    /// Makes a group. The caller adds it to the channels that exist.
    mutating func insert(_ group: SubscriberGroup) -> UInt32 {
        let index: UInt32
        if let free = freeGroups.popLast() {
            index = free
            groups[Int(index)] = group
        } else {
            if count == capacity {
                let grown = UnsafeMutablePointer<SubscriberGroup>.allocate(capacity: capacity * 2)
                grown.moveInitialize(from: groups, count: count)
                groups.deallocate()
                groups = grown
                capacity *= 2
            }
            (groups + count).initialize(to: group)
            index = UInt32(count)
            count += 1
        }
        byKey[group.key] = index
        var hasWildcard = group.patterns.isEmpty
        for pattern in group.patterns {
            if let name = pattern.name {
                byLiteral[name, default: []].append(index)
            } else {
                hasWildcard = true
            }
        }
        if hasWildcard { withWildcards.append(index) }
        return index
    }

    /// Forgets a group that nobody is in any more. The caller has taken it off the channels.
    mutating func remove(_ index: UInt32) {
        let group = groups[Int(index)]
        precondition(group.memberCount == 0, "a group with members was removed")
        byKey[group.key] = nil
        for pattern in group.patterns {
            guard let name = pattern.name else { continue }
            byLiteral[name]?.removeAll { $0 == index }
            if byLiteral[name]?.isEmpty == true { byLiteral[name] = nil }
        }
        withWildcards.removeAll { $0 == index }
        for format in 0..<3 { groups[Int(index)].members[format].deallocate() }
        groups[Int(index)].patterns = []
        groups[Int(index)].types = []
        freeGroups.append(index)
    }

    /// The groups that read a channel which is being made.
    func groups(reading channel: ChannelName) -> [UInt32] {
        var found = byLiteral[channel] ?? []
        for index in withWildcards where !found.contains(index) && groups[Int(index)].reads(channel) {
            found.append(index)
        }
        return found
    }
}
