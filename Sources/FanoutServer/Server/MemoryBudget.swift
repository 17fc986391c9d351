/// What the server holds in memory, and how much of that it may.

import Reactor
import Wire

/// Everything that varies, counted where it changes: reading it costs a few additions.
struct MemoryHeld: Equatable {
    /// Segments that something refers to, with their marks, but for those that the history holds.
    var segments = 0
    /// Runs of connections that have more than two.
    var runs = 0
    /// Input that is not whole.
    var input = 0
    /// Groups of subscribers.
    var subscriptions = 0
    /// Channels that exist.
    var channels = 0
    /// What channels' state is made of: rows, lines and what finds them.
    var state = 0
    /// Answers that wait for the database, events that are held back until it has them, and what was read from it for
    /// those who come back and for `/v1/history`.
    var storage = 0
    /// Keys and producers that are remembered.
    var repetition = 0

    var total: Int { segments + runs + input + subscriptions + channels + state + storage + repetition }
}

/// The budget, what was done to keep to it, and when to look again.
struct MemoryBudget {
    /// What all of `MemoryHeld` may come to.
    let bytesMax: Int
    /// What input, subscriptions and channels may come to, each, and keys and producers together.
    let shareBytes: Int
    /// Connections that were reset, and requests, readers and writers that were turned away, for want of memory.
    /// (Readers that were dealt with as laggards are counted with the others.)
    var resets: UInt64 = 0
    var refusals: UInt64 = 0
    /// After a look that found too little to give up: when to look again, unless this much is held by then.
    var lookAgainAt: UInt64 = 0
    var lookAgainBytes = 0
    /// Whether the turn's flush came to everyone who had something to send.
    var everyoneWasOffered = false
    /// The simulation's witness of everything, who is never given up.
    var sparedSlot = Connection.none
    /// The most that came from the allocator and not from mappings of its own since its free pages were last given
    /// back, and when that was.
    var allocatedPeakBytes = 0
    var trimmedAt: UInt64 = 0
    /// Whether publishers wait until less is held.
    var isPressed = false

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
        shareBytes = MemoryFormula.share(of: bytesMax)
    }

    /// What is aimed at once the budget is passed: an eighth below it, so that it is not passed again at once.
    var targetBytes: Int { bytesMax - bytesMax / 8 }
}

extension Engine {
    /// What is held now. O(1).
    var memoryHeld: MemoryHeld {
        MemoryHeld(
            segments: delivery.log.segments.bytesHeld + delivery.log.segments.markBytesHeld
                - hub.window.segmentBytesHeld(delivery.log.segments),
            runs: delivery.blocks.bytesHeld, input: inputs.bytesHeld, subscriptions: hub.subscriptions.bytesHeld,
            channels: hub.channels.bytesHeld, state: hub.states.bytes, storage: hub.records ? storageBytesHeld : 0,
            repetition: keys.bytesHeld + producers.bytesHeld)
    }

    private var storageBytesHeld: Int {
        hub.held.bytesHeld + hub.states.pendingBytesHeld + hub.stretches.bytesHeld + storedHistory.bytesHeld
            + (storage?.waiting.bytesHeld ?? 0)
    }

    /// Input and subscriptions come from the allocator, which keeps what is freed for the next that asks for it; what
    /// waits for readers could not have it. After a flood has gone its pages are given back. O(1) but for that.
    func trimMemory(_ held: MemoryHeld) {
        let allocated = held.input + held.subscriptions
        memory.allocatedPeakBytes = max(memory.allocatedPeakBytes, allocated)
        guard memory.allocatedPeakBytes - allocated > MemoryBudget.allocatorKeepsBytes,
            loop.now - memory.trimmedAt >= MemoryBudget.trimMilliseconds
        else { return }
        memory.allocatedPeakBytes = allocated
        memory.trimmedAt = loop.now
        ProcessMemory.trim()
    }

    /// Whether `more` bytes fit into the budget as it is now.
    func hasMemory(for more: Int = 0) -> Bool { memoryHeld.total + more <= memory.bytesMax }

    /// Whether a new reader with this subscription fits; counts one that does not.
    func hasMemory(for subscription: Subscription, at listener: ListenerName) -> Bool {
        if hasMemory(), hub.hasRoom(for: subscription, at: listener) { return true }
        memory.refusals &+= 1
        return false
    }

    /// Whether input may grow by so many bytes. If not its sender is told, and the connection ends.
    ///
    /// The smallest buffer is everybody's: it is part of what a connection costs, and a reader's pong must not fail
    /// because others send large bodies. Standard input is never refused: there is one, a line bounds it, and its
    /// producer cannot come back.
    func mayKeep(_ slot: UInt32, _ growth: Int) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        if growth <= InputBuffer.capacityMin,
            connection.pointee.input == Connection.none
                || inputs[connection.pointee.input].bytesHeld == 0
        {
            return true
        }
        if growth == 0 || inputs.bytesHeld + growth <= memory.shareBytes { return true }
        if connection.pointee.flags.contains(.standardInput) { return true }
        memory.refusals &+= 1
        switch connection.pointee.phase {
        case .request where connection.pointee.isAwaiting:
            // Said now, it would pass for the answer that waits: that one is the last instead.
            connection.pointee.flags.insert(.skipsLine)
        case .request:
            respond(
                slot, keepAlive: false,
                fault: HTTPFault(status: 503, code: "overload", message: "no memory is left for this: come back later"))
        case .ingest: refuseInput(slot)
        case .subscriber: bye(slot, .overload)
        case .free, .listener, .draining, .closing: break
        }
        return false
    }

    /// A batch can give every reader of its channel a run for every event, before anybody is sent to: refused where
    /// that would not fit. O(groups that read the channel); a single event always passes.
    func checkBatchFits(_ destination: Destination) throws(PublishFault) {
        guard hub.stagedCount > 1 else { return }
        let index: UInt32?
        switch destination {
        case .channel(let channel): index = channel
        case .name(let name): index = hub.channels.index(of: name)
        }
        guard let index else { return }
        let bytes = hub.runBytesMax(ofStagedOn: index)
        guard bytes > MemoryBudget.batchRunsFreeBytes, !hasMemory(for: bytes) else { return }
        memory.refusals &+= 1
        throw PublishFault(
            503, "overload", "the batch would need more memory than is left: send it in smaller ones, or later")
    }
}

extension MemoryBudget {
    /// What the allocator may keep of what was freed, and the shortest time between two looks at it. 4 MiB: less than
    /// the unfinished requests of 15,000 readers that came together, who are idle then and should cost as little.
    static let allocatorKeepsBytes = 4 << 20
    static let trimMilliseconds: UInt64 = 1000
    /// What the allocator may keep at any time: the buffers that a batch of 1,000 events grows through.
    static let freedKeptBytes: Int32 = 2 << 20

    /// Runs of a batch that are never asked about: part of what a turn may add.
    static let batchRunsFreeBytes = 4 << 20
}

extension Hub {
    /// The most that runs for the staged batch can come to. Who wants every event gets one run for all of them; who
    /// wants some kinds may get one for every second.
    func runBytesMax(ofStagedOn channel: UInt32) -> Int {
        let runs = (stagedCount + 1) / 2
        let blocks = (runs + RunBlocks.runsPerBlock - 1) / RunBlocks.runsPerBlock
        var readers = 0
        let groups = groups(of: channel)
        for place in 0..<groups.count {
            let group = groups[place]
            if !subscriptions[group].types.isEmpty { readers += subscriptions[group].memberCount }
        }
        return readers * blocks * MemoryLayout<RunBlocks.Block>.stride
    }
}
