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
    /// The schema of all their events, for `$hello`.
    var schema: ContentDigest?
    var onLag: Configuration.LagPolicy
    var limits: Configuration.LagLimits
    /// Connection slots: by wire format those that get each event as it is published, then those that are sent what was
    /// published before.
    var members: InlineArray<4, SlotList> = InlineArray(repeating: SlotList())
    /// The place in `members` of those who replay.
    static let replaying = 3
    /// Which group it is of all there ever were, from 1.
    fileprivate(set) var serial: UInt64 = 0

    /// The look-up of a channel's groups that last met this one, so that a group with several fitting patterns is
    /// found once.
    var lookup: UInt64 = 0
    /// The newest event that its readers could have got and that retention has removed, as of the hub's
    /// `RemovedEvents.version`.
    var pruned: (seq: UInt64, version: UInt64) = (0, 0)
    /// What the group costs, its members and its places in channels' lists left aside: set once, when it is made.
    fileprivate(set) var bytes = 0

    var memberCount: Int { members[0].count + members[1].count + members[2].count + members[Self.replaying].count }

    /// Whether its readers get every event there is.
    var isEverything: Bool { types.isEmpty && patterns.isEmpty }

    /// Whether an event whose kind is written like this is for them. Allocates nothing.
    func accepts(_ kind: Span<UInt8>, isEscaped: Bool) -> Bool { Self.accepts(kind, isEscaped: isEscaped, types) }

    /// Whether a kind that is written like this is one of those. Allocates nothing.
    static func accepts(_ kind: Span<UInt8>, isEscaped: Bool, _ types: [[UInt8]]) -> Bool {
        for type in types where JSONText.matches(kind, escaped: isEscaped, type.span) { return true }
        return false
    }

    /// What it is found by: its patterns, or the one of every channel.
    var patternsOrEverything: [ChannelPattern] { patterns.isEmpty ? [.everything] : patterns }
}

/// All groups. Attaching and detaching a subscriber of an existing group is O(1); a group that comes or goes costs what
/// its own patterns are long, however many channels and other groups there are.
struct SubscriptionTable: ~Copyable {
    /// Room that a dictionary may keep.
    private static let namesKept = 4096
    /// The groups, by index. A group without members is free.
    private(set) var groups: UnsafeMutablePointer<SubscriberGroup>
    private var capacity = 16
    private var count = 0
    private var freeGroups: [UInt32] = []
    private var byKey: [[UInt8]: UInt32] = [:]
    private var byPattern = PatternIndex()
    /// Changes whenever a group comes or goes: what was looked up before is out of date. 0 is never.
    private(set) var version: UInt64 = 1
    private var lookups: UInt64 = 0
    /// Bytes of all groups and of the lists of their members. A table of theirs that has grown stays; it follows the
    /// most groups there ever were, which connections bound.
    private(set) var bytesHeld = 0

    init() { groups = .allocate(capacity: capacity) }

    deinit {
        for index in 0..<count {
            for list in 0..<4 { groups[index].members[list].deallocate() }
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

    /// Adds a subscriber to a list of a group and returns its place in it.
    mutating func addMember(_ slot: UInt32, to index: UInt32, list: Int) -> UInt32 {
        let before = groups[Int(index)].members[list].bytesHeld
        defer { bytesHeld += groups[Int(index)].members[list].bytesHeld - before }
        return groups[Int(index)].members[list].append(slot)
    }

    /// Takes the subscriber at `place` out; returns the one that has taken its place, if any.
    mutating func removeMember(at place: UInt32, of index: UInt32, list: Int) -> UInt32? {
        let before = groups[Int(index)].members[list].bytesHeld
        defer { bytesHeld += groups[Int(index)].members[list].bytesHeld - before }
        return groups[Int(index)].members[list].remove(at: place)
    }

    /// Makes a group.
    mutating func insert(_ group: SubscriberGroup) -> UInt32 {
        var group = group
        group.bytes = MemoryFormula.groupBytes(group)
        // The version changes with each group that comes.
        group.serial = version
        bytesHeld += group.bytes
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
        for pattern in group.patternsOrEverything { byPattern.insert(index, under: pattern) }
        version &+= 1
        return index
    }

    /// Forgets a group that nobody is in any more.
    mutating func remove(_ index: UInt32) {
        let group = groups[Int(index)]
        precondition(group.memberCount == 0, "a group with members was removed")
        byKey[group.key] = nil
        for pattern in group.patternsOrEverything { byPattern.remove(index, under: pattern) }
        version &+= 1
        // A dictionary keeps its room: what a flood of subscriptions took is given back when most of it has gone.
        if byKey.capacity > Self.namesKept, byKey.count < byKey.capacity / 8 { byKey = byKey.filter { _ in true } }
        if byPattern.nodesMade > Self.namesKept, byPattern.nodesInUse < byPattern.nodesMade / 8 { rebuildIndex() }
        bytesHeld -= group.bytes
        for list in 0..<4 {
            bytesHeld -= groups[Int(index)].members[list].bytesHeld
            groups[Int(index)].members[list].deallocate()
        }
        groups[Int(index)].bytes = 0
        groups[Int(index)].key = []
        groups[Int(index)].discriminator = []
        groups[Int(index)].patterns = []
        groups[Int(index)].types = []
        freeGroups.append(index)
    }

    /// Makes the index anew from the groups there are: what a flood of patterns took is given back.
    private mutating func rebuildIndex() {
        byPattern = PatternIndex()
        for index in 0..<count where !groups[index].key.isEmpty {
            for pattern in groups[index].patternsOrEverything { byPattern.insert(UInt32(index), under: pattern) }
        }
    }

    /// Gives each group that reads a channel, once.
    mutating func forEachGroup(reading channel: ChannelName, _ body: (UInt32) -> Void) {
        lookups += 1
        byPattern.forEach(naming: channel) { index in
            guard groups[Int(index)].lookup != lookups else { return }
            groups[Int(index)].lookup = lookups
            body(index)
        }
    }
}
