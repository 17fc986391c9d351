/// What a reader that comes back is sent next: lines of the history as they are, or a page of it.

import Planted
import Wire

/// Which channels a subscription reads, remembered while many events are looked at.
struct ChannelMatcher {
    private let patterns: [ChannelPattern]
    private var known: [UInt32: Bool] = [:]
    private var latest: (channel: UInt32, matches: Bool)?
    /// Patterns tried so far.
    private(set) var tried = 0

    /// - Parameter patterns: none means every channel.
    init(_ patterns: [ChannelPattern]) { self.patterns = patterns.contains { $0.isEverything } ? [] : patterns }

    /// Whether a channel is one of them. O(1) but for the first time.
    mutating func matches(_ channel: UInt32, _ channels: borrowing ChannelTable) -> Bool {
        if patterns.isEmpty { return true }
        if let latest, latest.channel == channel { return latest.matches }
        let matches: Bool
        if let found = known[channel] {
            matches = found
        } else {
            tried += patterns.count
            matches = patterns.contains { $0.matches(channels[channel].name) }
            known[channel] = matches
        }
        latest = (channel, matches)
        return matches
    }
}

/// The next stretch of the history for a reader.
struct ReplayStep {
    /// Frames to send; nil where nothing in the stretch is for this reader.
    var run: OutboundRun?
    /// How many events they are.
    var events: UInt32 = 0
    /// What comes next begins behind this event.
    var through: UInt64
    /// Events that were looked at to make a page.
    var looked: Int = 0
}

extension Hub {
    /// Events that one step looks at, at most.
    static let replayLookMax = 4096

    /// The oldest event held, or the next one where none is.
    var oldestHeld: UInt64 { window.firstSeq ?? head + 1 }

    /// What follows a place in the history, for the readers of a group in one format. `place` is below the head, and
    /// the event behind it is held.
    func replayStep(after place: UInt64, _ format: WireFormat, _ group: UInt32) -> ReplayStep {
        guard let block = window.place(holding: place + 1) else {
            preconditionFailure("what comes next is not held")
        }
        let isEverything = subscriptions[group].isEverything
        if format == .jsonl, isEverything {
            let block = window[block]
            let first = Int(place + 1 - block.firstSeq)
            return ReplayStep(
                run: block.run(from: first, delivery.log.segments), events: block.count - UInt32(first),
                through: block.lastSeq)
        }
        let filter = isEverything ? 0 : subscriptions[group].serial
        if let page = pages.find(place + 1, format: format.rawValue, filter: filter) {
            return step(after: place, pages.pages[page], looked: 0)
        }
        // A page may be full before it has come so far. What follows is made at once: when this reader's turn comes
        // again, pages of others may have taken the place of this one, and so for ever. O(events of the block).
        var looked = 0
        while true {
            let (page, its) = makePage(for: place + 1, window[block].firstSeq, format, filter, group)
            looked += its
            let made = pages.pages[page]
            if made.last > place { return step(after: place, made, looked: looked) }
        }
    }

    /// The frames of a page behind a place that it speaks for.
    private func step(after place: UInt64, _ page: ReplayPage, looked: Int) -> ReplayStep {
        let segment = delivery.log.segments[page.segment]
        let skipped = segment.marksUp(to: isPlanted("pageBegunTooLate") ? place + 1 : place)
        guard skipped < segment.markCount else { return ReplayStep(run: nil, through: page.last, looked: looked) }
        let start = skipped == 0 ? 0 : segment.marks![Int(skipped) - 1].end
        return ReplayStep(
            run: OutboundRun(segment: page.segment, start: start, count: segment.used - start),
            events: segment.markCount - skipped, through: page.last, looked: looked)
    }

    /// Makes a page that comes nearer to an event, or goes on with one. Pages begin where blocks do, so that readers
    /// who come back to different places share them.
    private func makePage(
        for seq: UInt64, _ blockFirst: UInt64, _ format: WireFormat, _ filter: UInt64, _ group: UInt32
    ) -> (page: Int, looked: Int) {
        let nearest = pages.nearest(before: seq, notBefore: blockFirst - 1, format: format.rawValue, filter: filter)
        let first = nearest.map { pages.pages[$0].last + 1 } ?? blockFirst
        let through = min(head, first + UInt64(Self.replayLookMax) - 1)
        if let nearest, !pages.pages[nearest].isFull {
            let filled = fill(pages.pages[nearest].segment, first...through, format, group)
            pages.extend(nearest, through: filled.last, isFull: filled.isFull)
            return (nearest, filled.looked)
        }
        // A frame is its line and at most a hundred bytes more.
        let lineBytes = lineBytes(first)
        let segment = delivery.log.segments.take(
            chain: Chain(rawValue: format.rawValue)!,
            bytesMin: max(delivery.log.segments.segmentBytes, lineBytes + 128))
        let filled = fill(segment, first...through, format, group)
        let page = ReplayPage(
            format: format.rawValue, filter: filter, first: first, last: filled.last, segment: segment,
            isFull: filled.isFull)
        return (pages.insert(page, &delivery.log.segments), filled.looked)
    }

    private func lineBytes(_ seq: UInt64) -> Int {
        guard let place = window.place(holding: seq) else { return 0 }
        return window[place].line(Int(seq - window[place].firstSeq), delivery.log.segments).count
    }

    /// Adds the frames of held events that a group gets to a segment, as far as they fit.
    private func fill(
        _ segment: UInt32, _ events: ClosedRange<UInt64>, _ format: WireFormat, _ group: UInt32
    ) -> (last: UInt64, isFull: Bool, looked: Int) {
        var matcher = ChannelMatcher(subscriptions[group].patterns)
        let now = UInt32(truncatingIfNeeded: delivery.loop.now)
        let empty: [UInt8] = []
        var seq = events.lowerBound
        var place = window.place(holding: seq)!
        while seq <= events.upperBound {
            let block = window[place]
            let inBlock = Int(seq - block.firstSeq)
            if matcher.matches(block.events[inBlock].channel, channels), isWanted(block, inBlock, group) {
                let line = block.line(inBlock, delivery.log.segments)
                let object = UnsafeBufferPointer(rebasing: line.dropLast())
                // What was stamped is in the line already.
                let stamp = Stamp(members: [], epoch: epoch, seq: seq, timeMilliseconds: 0)
                let byteCount = EventEncoder.byteCount(format, stamp: stamp, channel: empty.span, event: object.span)
                let used = delivery.log.segments[segment].used
                guard Int(used) + byteCount <= Int(delivery.log.segments[segment].capacity),
                    Int(delivery.log.segments[segment].markCount) < SegmentStore.marksMax
                else { return (seq - 1, true, Int(seq - events.lowerBound)) }
                EventEncoder.encode(
                    format, stamp: stamp, channel: empty.span, event: object.span,
                    into: delivery.log.segments[segment].base + Int(used))
                delivery.log.segments[segment].used = used + UInt32(byteCount)
                delivery.log.segments.mark(segment, seq: seq, writtenAt: now)
            }
            seq += 1
            if seq > block.lastSeq { place += 1 }
        }
        return (events.upperBound, false, Int(events.upperBound - events.lowerBound) + 1)
    }

    /// Whether a held event is of a kind that a group asked for.
    private func isWanted(_ block: HistoryBlock, _ place: Int, _ group: UInt32) -> Bool {
        if subscriptions[group].types.isEmpty { return true }
        guard let kind = block.kind(place, delivery.log.segments) else { return false }
        return subscriptions[group].accepts(kind.text.span, isEscaped: kind.isEscaped)
    }
}
