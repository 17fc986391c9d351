/// What a connection is behind by, and how a backlog is dropped without breaking a frame.

import Planted

extension Delivery {
    /// What dropping a backlog left.
    struct Dropped {
        /// Events that will never be sent.
        var events: UInt32
        /// The newest event that was sent or will still be, 0 if none.
        var lastKept: UInt64
    }

    /// Drops the events that a connection has not begun to send. What the reactor has in flight, the rest of a frame
    /// that is partly out, and bytes that are no events stay; so does what stands before these, since a `$gap` or
    /// `$hello` that waits has said that it comes first.
    func dropBacklog(_ slot: UInt32) -> Dropped {
        let connection = connections.records + Int(slot)
        var runs: [OutboundRun] = []
        connection.pointee.ring.drain(blocks: &blocks) { runs.append($0) }
        var dropped = Dropped(events: 0, lastKept: connection.pointee.sentSeq)
        var eventsKept: UInt32 = 0
        var bytesToKeep = connection.pointee.inFlight
        let isEvents = { (run: OutboundRun) in self.log.segments[run.segment].chain.rawValue < Chain.control.rawValue }
        let lastRecord = runs.lastIndex { !isEvents($0) } ?? -1
        for (place, run) in runs.enumerated() {
            var kept = run
            if isEvents(run) {
                let inFlight = place < lastRecord ? run.count : min(bytesToKeep, run.count)
                let cut = min(run.end, log.segments[run.segment].frameBoundary(atOrAfter: run.start + inFlight))
                kept.count = cut - run.start
                dropped.events += log.segments[run.segment].events(after: cut, by: run.end)
                eventsKept += log.segments[run.segment].events(after: run.start, by: cut)
                if let seq = log.segments[run.segment].lastEvent(after: run.start, by: cut) {
                    dropped.lastKept = max(dropped.lastKept, seq)
                }
            }
            bytesToKeep -= min(bytesToKeep, run.count)
            // A run that goes away, or becomes part of its neighbour, gives its reference back.
            if kept.count == 0 || !connection.pointee.ring.append(kept, blocks: &blocks) {
                if !isPlanted("segmentKeptWhenDropped") { log.segments.release(run.segment) }
            }
        }
        connection.pointee.pendingEvents = eventsKept
        connection.pointee.queuedSeq = dropped.lastKept
        return dropped
    }

    /// When the oldest unsent byte was written, in the low 32 bits of the loop's milliseconds. For the history, which
    /// was written long ago: when something was last taken, or began to wait.
    func oldestWaiting(_ slot: UInt32) -> UInt32 {
        let connection = connections.records + Int(slot)
        if !connection.pointee.flags.isDisjoint(with: .withHistory) { return connection.pointee.waitingSince }
        let front = connection.pointee.ring.front
        let segment = log.segments[front.segment]
        let place = segment.marksEnding(at: front.start)
        guard place < segment.markCount, let marks = segment.marks else { return connection.pointee.waitingSince }
        return marks[Int(place)].writtenAt
    }
}
