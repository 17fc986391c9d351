/// How events are recorded and held back until the disk has them, to be shown then; how channels end behind them.

import EventStore
import Planted
import Wire

extension Hub {
    /// The newest event of a channel that has a number, seen or not; 0 is none.
    func newestAccepted(on channel: UInt32) -> UInt64 {
        records ? channels[channel].acceptedSeq : channels[channel].lastSeq
    }

    /// Gives the staged events numbers and records them, and shows them to nobody yet.
    func holdStaged(on index: UInt32, _ level: StoreLevel) -> Receipt {
        var receipt = Receipt()
        receipt.count = staging.events.count
        receipt.first = accepted + 1
        receipt.last = accepted + UInt64(receipt.count)
        guard let newest = staging.events.last else { return receipt }
        let channel = channels.channels + Int(index)
        var stamp = Stamp(
            members: channel.pointee.rules.event.stamp, epoch: epoch, seq: accepted, timeMilliseconds: 0)
        if stamp.members.contains(.time) { stamp.timeMilliseconds = nextTime() }
        receipt.subscribers = readers(of: newest, on: index)
        for event in staging.events {
            stamp.seq += 1
            let bytes = staging.bytes(of: event)
            let lineBytes = recordLine(event, bytes, stamp, channel)
            holdState(event.change, of: index, lineBytes: lineBytes - 1, seq: stamp.seq)
            held.add(bytes, event.record, event.change)
        }
        staging.removeAll()
        let isHeldBack = channel.pointee.rules.isHeldBack
        held.finish(on: index, last: receipt.last, stamp, waitsForDisk: isHeldBack)
        channel.pointee.acceptedSeq = receipt.last
        outgoing.finish(
            Publication(
                channel: channel.pointee.text, firstSeq: receipt.first,
                timeMs: delivery.loop.wallClockMilliseconds, level: isHeldBack ? .synced : level, rows: rows))
        return receipt
    }

    /// Adds an event whose line was just written to what goes to the database.
    func record(
        _ record: EventRecord, _ event: UnsafeBufferPointer<UInt8>, _ line: OutboundRun, _ change: StateChange
    ) {
        let start = delivery.log.segments[line.segment].base + Int(line.start)
        self.record(record, event, line: UnsafeBufferPointer(start: start, count: Int(line.count)), change)
    }

    /// The same for a line that is not in the history; it has its newline.
    func record(
        _ record: EventRecord, _ event: UnsafeBufferPointer<UInt8>, line: UnsafeBufferPointer<UInt8>,
        _ change: StateChange
    ) {
        let change = StoreChange(change)
        let line = line.span.extracting(droppingLast: 1)
        if let kind = record.kind {
            outgoing.add(line: line, kind: event.span.extracting(kind.range), change: change)
        } else {
            outgoing.add(line: line, kind: nil, change: change)
        }
    }

    /// Records an event as its readers will see it; returns how long its line is.
    private func recordLine(
        _ event: StagedEvent, _ bytes: UnsafeBufferPointer<UInt8>, _ stamp: Stamp,
        _ channel: UnsafeMutablePointer<Channel>
    ) -> Int {
        let name = channel.pointee.name.bytes.span
        let count = EventEncoder.byteCount(.jsonl, stamp: stamp, channel: name, event: bytes.span)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { line in
            guard let start = line.baseAddress else { return }
            EventEncoder.encode(.jsonl, stamp: stamp, channel: name, event: bytes.span, into: start)
            let isKept = !isPlanted("heldStateNotStored")
            record(
                event.record, bytes, line: UnsafeBufferPointer(start: start, count: count),
                isKept ? event.change : .none)
        }
        return count
    }

    /// Readers that an event will be handed to, as things stand.
    private func readers(of event: StagedEvent, on channel: UInt32) -> Int {
        let groups = groups(of: channel)
        let table = subscriptions.groups
        var count = 0
        for place in 0..<groups.count {
            let group = table + Int(groups[place])
            extraWork &+= UInt64(group.pointee.types.count)
            guard group.pointee.types.isEmpty || isOfKind(event, staging.bytes(of: event), group) else { continue }
            count += group.pointee.memberCount
        }
        return count
    }

    /// Shows the oldest that is held, with the number and the time that it got then. There must be one, and nothing
    /// staged.
    func showHeld() -> HeldEvents.Entry {
        let entry = held.take { staging.restore($0, $1, $2) }
        if let isEnded = entry.ends {
            setOver(isEnded, entry.channel)
        } else {
            shown = entry
            let receipt = showStaged(on: entry.channel)
            shown = nil
            precondition(receipt.last == entry.last, "an event was shown under another number than it had")
        }
        return entry
    }

    /// Ends a channel: nothing is published to it any more. True if its readers may know at once; else they will when
    /// they have seen its last event.
    func end(_ channel: UInt32) -> Bool {
        setEnded(true, channel)
        return channels[channel].isOver
    }

    /// Lets a channel begin anew. True if it had ended.
    func reopen(_ channel: UInt32) -> Bool {
        let hadEnded = channels[channel].hasEnded
        setEnded(false, channel)
        return hadEnded
    }

    private func setEnded(_ isEnded: Bool, _ channel: UInt32) {
        guard channels[channel].hasEnded != isEnded else { return }
        channels[channel].hasEnded = isEnded
        // What was known of a channel that ended is not what is known of the one that begins.
        if records, !isEnded, keepsState(channel) { outgoing.clearState(channel: channels[channel].text) }
        if records { outgoing.setEnded(isEnded, channel: channels[channel].text) }
        if held.isEmpty {
            setOver(isEnded, channel)
        } else {
            held.setEnded(isEnded, channel)
        }
    }

    private func setOver(_ isOver: Bool, _ channel: UInt32) {
        channels[channel].isOver = isOver
        if !isOver { forgetState(of: channel) }
    }
}

extension Engine {
    /// Whether anything that was held back can be shown now.
    var hasEventsToShow: Bool {
        guard hub.records, !hub.held.isEmpty, let synced = storage?.synced else { return false }
        return hub.held.isReady(synced: isPlanted("heldShownAtOnce") ? hub.accepted : synced)
    }

    /// Once in a turn: shows what need not be held back any longer, as far as the turn's share goes, and gives the
    /// answers that wait for that.
    func showStored() {
        var events: UInt64 = 0
        var bytes = 0
        while hasEventsToShow, events < Limits.turnEvents, bytes < shares.turnInputBytes, turnWork <= shares.turnWork {
            let entry = hub.showHeld()
            events += UInt64(entry.count)
            bytes += entry.byteCount
            if entry.ends == true { sayEnded() }
        }
        releaseAnswers()
    }
}
