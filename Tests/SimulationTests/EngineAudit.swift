/// What must hold inside the server between any two turns.

import Reactor

@testable import FanoutServer

/// Looks at every connection, ring, segment and list of an engine and says what does not agree.
struct EngineAudit {
    let engine: Engine
    private var delivery: Delivery { engine.delivery }

    init(_ engine: Engine) { self.engine = engine }

    /// Everything that is wrong. `sightings` learns which states occur.
    func faults(_ sightings: inout Sightings) -> [String] {
        var faults: [String] = []
        var references: [UInt32: UInt32] = [:]
        var open = [Int](repeating: 0, count: Transport.allCases.count)
        var inputs = 0
        var members = 0
        var deferred = 0
        var blocksMin = 0
        var blocksMax = 0
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections[slot]
            guard connection.phase != .free else { continue }
            open[Int(connection.transport.rawValue)] += 1
            if connection.input != Connection.none { inputs += 1 }
            if connection.isLive, connection.group != Connection.none { members += 1 }
            if connection.flags.contains(.inputDeferred) { deferred += 1 }
            if connection.flags.contains(.skipping) { sightings.skipping += 1 }
            if connection.flags.contains(.inputPaused) { sightings.paused += 1 }
            let middle = max(0, Int(connection.ring.runCount) - 2)
            if middle > 0 { sightings.middleRuns += 1 }
            blocksMin += (middle + RunBlocks.runsPerBlock - 1) / RunBlocks.runsPerBlock
            blocksMax += middle == 0 ? 0 : (middle + 2 * RunBlocks.runsPerBlock - 2) / RunBlocks.runsPerBlock
            faults += ringFaults(slot, connection, &references)
            faults += stateFaults(slot, connection)
        }
        sightings.deferred += deferred
        if deferred != engine.deferred.count(where: { delivery.connections[$0].flags.contains(.inputDeferred) }) {
            faults.append("\(deferred) connections are deferred, the list has \(engine.deferred)")
        }
        for transport in Transport.allCases
        where delivery.connections.counts[Int(transport.rawValue)] != open[Int(transport.rawValue)] {
            faults.append("the gauge of \(transport) is wrong")
        }
        if engine.inputs.inUse != inputs { faults.append("\(engine.inputs.inUse) input buffers for \(inputs)") }
        if !(blocksMin...blocksMax).contains(delivery.blocks.inUse) {
            faults.append("\(delivery.blocks.inUse) run blocks, \(blocksMin) to \(blocksMax) are needed")
        }
        return faults + groupFaults(members) + segmentFaults(references) + peerFaults()
    }

    // MARK: One connection

    private func ringFaults(
        _ slot: UInt32, _ connection: Connection, _ references: inout [UInt32: UInt32]
    ) -> [String] {
        var bytes: UInt32 = 0
        var runs: UInt32 = 0
        var events: UInt32 = 0
        var faults: [String] = []
        connection.ring.forEachFirst(runsMax: .max, bytesMax: .max, blocks: delivery.blocks) { run in
            bytes += run.count
            runs += 1
            references[run.segment, default: 0] += 1
            events += delivery.log.segments[run.segment].events(after: run.start, by: run.end)
            if run.count == 0 || run.end > delivery.log.segments[run.segment].used {
                faults.append("slot \(slot): a run \(run) beyond its segment")
            }
        }
        if bytes != connection.ring.byteCount || runs != connection.ring.runCount {
            faults.append("slot \(slot): the ring counts \(connection.ring.byteCount) bytes and has \(bytes)")
        }
        if connection.pendingEvents != events {
            faults.append("slot \(slot): \(events) events wait, \(connection.pendingEvents) are counted")
        }
        if connection.inFlight > connection.ring.byteCount {
            faults.append("slot \(slot): more in flight than there is")
        }
        if connection.flags.contains(.sending) != (connection.inFlight > 0) {
            faults.append("slot \(slot): \(connection.inFlight) bytes in flight, \(connection.flags)")
        }
        return faults
    }

    private func stateFaults(_ slot: UInt32, _ connection: Connection) -> [String] {
        var faults: [String] = []
        let socket = delivery.connections.socket(slot)
        let flags = connection.flags
        if connection.phase == .closing || connection.phase == .listener { return [] }
        if flags.contains(.sending) != engine.loop.isSending(socket) {
            faults.append("slot \(slot): sending is \(flags.contains(.sending)), the reactor says otherwise")
        }
        if !connection.ring.isEmpty, !flags.contains(.sending), !flags.contains(.queued),
            !engine.starved.contains(slot)
        {
            faults.append("slot \(slot): bytes that nobody will send (\(connection.phase), \(flags))")
        }
        // One armed receive, unless the input is paused or over.
        let shouldReceive = flags.isDisjoint(with: [.inputPaused, .peerEnded])
        if engine.loop.isReceiving(socket) != shouldReceive {
            faults.append("slot \(slot): receiving is \(!shouldReceive) in \(connection.phase), \(flags)")
        }
        // A pause ends when the answers are sent, or have come from the database, or in the next turn.
        if flags.contains(.inputPaused), !flags.contains(.inputDeferred), connection.ring.isEmpty,
            connection.waitingAnswers == 0
        {
            faults.append("slot \(slot): paused for ever in \(connection.phase), \(flags)")
        }
        if flags.contains(.skipping), connection.isLive {
            if connection.ring.isEmpty, !flags.contains(.awaitsImage) {
                faults.append("slot \(slot): skips with nothing to wait for")
            }
            if engine.hub.subscriptions[connection.group].onLag == .close {
                faults.append("slot \(slot): skips uninvited")
            }
        }
        if !connection.isLive, connection.transport != .ingest, connection.phase != .request,
            connection.group != Connection.none
        {
            faults.append("slot \(slot): still in a group in \(connection.phase), \(flags)")
        }
        if connection.isLive {
            if connection.group == Connection.none {
                faults.append("slot \(slot): a live subscriber that gets nothing")
            } else {
                let lists = engine.hub.subscriptions[connection.group].members
                let list =
                    flags.contains(.replaying)
                    ? lists[SubscriberGroup.replaying] : lists[Int(connection.transport.format.rawValue)]
                if connection.member >= list.count || list[Int(connection.member)] != slot {
                    faults.append("slot \(slot): is not where its group has it")
                }
            }
        }
        return faults
    }

    // MARK: All together

    /// Recounts who has how many connections: each that is open, of a peer with a limit, once.
    private func peerFaults() -> [String] {
        var faults: [String] = []
        var counted: [PeerKey: Int] = [:]
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections[slot]
            let isOpen = ![.free, .listener, .closing].contains(connection.phase)
            let standing = engine.peers.counts.standing(slot)
            if let standing { counted[standing.key, default: 0] += 1 }
            if standing != nil, !isOpen { faults.append("slot \(slot): counted in \(connection.phase)") }
            // What was broken before it was accepted has no peer, and has none later either.
            let socket = delivery.connections.socket(slot)
            guard isOpen, engine.peers.apply(at: engine.loop.localAddress(of: socket)),
                let identity = engine.loop.peer(of: socket)
            else { continue }
            let key = PeerKey(identity)
            if engine.peers.most(key) != nil, standing?.key != key {
                faults.append("slot \(slot): \(key) is counted as \(standing.map { "\($0.key)" } ?? "nobody")")
            }
        }
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            guard let (key, count) = engine.peers.counts.standing(slot) else { continue }
            if counted[key] != count { faults.append("\(key) has \(counted[key] ?? 0) connections, not \(count)") }
            if let most = engine.peers.most(key), count > most + PeerLimits.placesBeyond {
                faults.append("\(key) has \(count) connections, \(most) are allowed")
            }
        }
        if engine.peers.counts.peerCount != counted.count { faults.append("entries of peers that are gone") }
        return faults
    }

    private func groupFaults(_ members: Int) -> [String] {
        var inGroups: Set<UInt32> = []
        var listed = 0
        for channel in 0..<UInt32(engine.hub.channels.count) {
            let groups = engine.hub.groups(of: channel)
            for place in 0..<groups.count {
                let group = groups[place]
                if inGroups.insert(group).inserted { listed += engine.hub.subscriptions[group].memberCount }
            }
        }
        // Groups that read no channel which exists yet are not seen here.
        return listed <= members ? [] : ["\(listed) members in groups, \(members) subscribers"]
    }

    private func segmentFaults(_ rings: [UInt32: UInt32]) -> [String] {
        var references = rings
        var faults: [String] = []
        for chain in 0..<4 where delivery.log.tails[chain] != .max {
            references[delivery.log.tails[chain], default: 0] += 1
        }
        for place in 0..<engine.hub.window.blockCount {
            references[engine.hub.window[place].segment, default: 0] += 1
        }
        for page in engine.hub.pages.pages { references[page.segment, default: 0] += 1 }
        for image in engine.hub.images.images {
            for segment in image.segments { references[segment, default: 0] += 1 }
        }
        var bytes = 0
        for (index, count) in references.sorted(by: { $0.key < $1.key }) {
            let segment = delivery.log.segments[index]
            let expected = count + (segment.chain == .constant ? 1 : 0)
            if segment.references != expected {
                faults.append("segment \(index): \(segment.references) references, \(expected) are in use")
            }
            if segment.chain != .constant { bytes += Int(segment.capacity) }
        }
        if bytes != delivery.log.segments.bytesHeld {
            faults.append("\(delivery.log.segments.bytesHeld) bytes of segments are held, \(bytes) are in use")
        }
        return faults
    }
}
