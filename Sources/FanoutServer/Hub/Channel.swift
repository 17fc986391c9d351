/// A named stream and who reads it.

import Wire

/// One channel. It exists from its declaration or its first event on.
struct Channel {
    let name: ChannelName
    /// The same as the database has it.
    let text: String
    /// Those of the present configuration.
    var rules: CompiledRules
    /// Groups that read it, as of the subscription table's `groupsVersion`; `Hub.groups(of:)` brings them up to date.
    var groups = SlotList()
    var groupsVersion: UInt64 = 0
    /// Events published so far, and the number of the newest (0: none).
    var eventCount: UInt64 = 0
    var lastSeq: UInt64 = 0
    /// The newest of its events that was held and is held no more; 0 is none.
    var prunedSeq: UInt64 = 0
    /// With a database: the newest event that has a number, seen or not.
    var acceptedSeq: UInt64 = 0
    /// Its state among `Hub.states`, once there is any.
    var state = States.none
    /// Nothing will be published to it until it is declared again.
    var hasEnded = false
    /// Its readers may know that it has ended: its last event is not held back any more.
    var isOver = false

    init(name: ChannelName, rules: CompiledRules) {
        self.name = name
        text = name.description
        self.rules = rules
    }
}

/// All channels, by index and by name. An index is good for the life of the server.
struct ChannelTable: ~Copyable {
    /// Channels that may exist. A publisher that makes up names must not fill the memory: 100,000 are about 30 MB.
    static let channelsMax = 100_000

    private(set) var channels: UnsafeMutablePointer<Channel>
    private var capacity = 16
    private(set) var count = 0
    private var byName: [ChannelName: UInt32] = [:]
    /// Bytes of all channels, their lists of groups left aside; and of their names alone.
    private(set) var bytesHeld = 0
    private(set) var nameBytes = 0

    init() { channels = .allocate(capacity: capacity) }

    deinit {
        for index in 0..<count { channels[index].groups.deallocate() }
        channels.deinitialize(count: count)
        channels.deallocate()
    }

    subscript(index: UInt32) -> Channel {
        unsafeAddress { UnsafePointer(channels + Int(index)) }
        unsafeMutableAddress { channels + Int(index) }
    }

    func index(of name: ChannelName) -> UInt32? { byName[name] }

    /// Throws away what was looked up of every channel's groups. O(channels).
    mutating func forgetGroups() {
        for index in 0..<count {
            channels[index].groups.deallocate()
            channels[index].groupsVersion = 0
        }
    }

    /// Adds a channel; nil when there are too many.
    mutating func insert(_ channel: Channel) -> UInt32? {
        guard count < Self.channelsMax else { return nil }
        if count == capacity {
            let grown = UnsafeMutablePointer<Channel>.allocate(capacity: capacity * 2)
            grown.moveInitialize(from: channels, count: count)
            channels.deallocate()
            channels = grown
            capacity *= 2
        }
        (channels + count).initialize(to: channel)
        byName[channel.name] = UInt32(count)
        bytesHeld += MemoryFormula.channelBytes(channel.name)
        nameBytes += channel.name.bytes.count
        count += 1
        return UInt32(count - 1)
    }
}
