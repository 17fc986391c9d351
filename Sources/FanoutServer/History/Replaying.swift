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

    /// Where the events of a page are taken from.
    private enum Source {
        /// A block of the window.
        case block(HistoryBlock)
        /// A stretch that was read from the database, by its place.
        case stretch(Int)
    }

    /// What follows a place in the history, for the readers of a group in one format. `place` is below the head. nil:
    /// it is to be read from the database first.
    func replayStep(after place: UInt64, _ format: WireFormat, _ group: UInt32) -> ReplayStep? {
        let isEverything = subscriptions[group].isEverything
        let block = window.place(holding: place + 1).map { window[$0] }
        if let block, format == .jsonl, isEverything {
            let first = Int(place + 1 - block.firstSeq)
            return ReplayStep(
                run: block.run(from: first, delivery.log.segments), events: block.count - UInt32(first),
                through: block.lastSeq)
        }
        let filter = isEverything ? 0 : subscriptions[group].serial
        if let page = pages.find(place + 1, format: format.rawValue, filter: filter) {
            return step(after: place, pages.pages[page], looked: 0)
        }
        let source: Source
        let first: UInt64
        if let block {
            source = .block(block)
            first = block.firstSeq
        } else {
            guard records else { preconditionFailure("what comes next is not held") }
            guard let found = stretches.find(place + 1, of: channelsToRead(by: group)) else { return nil }
            source = .stretch(found)
            first = firstComplete(stretches.stretches[found].first, group)
        }
        // A page may be full before it has come so far. What follows is made at once: when this reader's turn comes
        // again, pages of others may have taken the place of this one, and so for ever. O(events of the block).
        var looked = 0
        while true {
            let (page, its) = makePage(for: place + 1, source, from: first, format, filter, group)
            looked += its
            let made = pages.pages[page]
            if made.last > place { return step(after: place, made, looked: looked) }
        }
    }

    /// The channels that are read from the database for a group: those it names, sorted, where they are few; nil reads
    /// all.
    func channelsToRead(by group: UInt32) -> [String]? { Self.channelsToRead(by: subscriptions[group].patterns) }

    /// The same for patterns; none means every channel.
    static func channelsToRead(by patterns: [ChannelPattern]) -> [String]? {
        guard !patterns.isEmpty, patterns.count <= channelsReadMax else { return nil }
        var names: [String] = []
        for pattern in patterns {
            guard let name = pattern.name else { return nil }
            names.append(name.description)
        }
        return names.sorted()
    }
    /// Up to so many channels the database reads by their own index.
    private static let channelsReadMax = 64

    /// From where on a stretch that begins with `first` has all that a group can have: retention may have removed what
    /// is before.
    private func firstComplete(_ first: UInt64, _ group: UInt32) -> UInt64 {
        guard removed.newest >= first else { return first }
        return max(first, newestPruned(in: group) + 1)
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

    /// Makes a page that comes nearer to an event, or goes on with one. Pages begin where blocks and stretches do, so
    /// that readers who come back to different places share them.
    private func makePage(
        for seq: UInt64, _ source: Source, from sourceFirst: UInt64, _ format: WireFormat, _ filter: UInt64,
        _ group: UInt32
    ) -> (page: Int, looked: Int) {
        let nearest = pages.nearest(before: seq, notBefore: sourceFirst - 1, format: format.rawValue, filter: filter)
        let first = nearest.map { pages.pages[$0].last + 1 } ?? sourceFirst
        if let nearest, !pages.pages[nearest].isFull {
            let filled = fill(pages.pages[nearest].segment, first, source, format, group)
            pages.extend(nearest, through: filled.last, isFull: filled.isFull)
            return (nearest, filled.looked)
        }
        // A frame is its line and at most a hundred bytes more.
        let lineBytes = lineBytes(first, source)
        let segment = delivery.log.segments.take(
            chain: Chain(rawValue: format.rawValue)!,
            bytesMin: max(delivery.log.segments.segmentBytes, lineBytes + 128))
        let filled = fill(segment, first, source, format, group)
        let page = ReplayPage(
            format: format.rawValue, filter: filter, first: first, last: filled.last, segment: segment,
            isFull: filled.isFull)
        return (pages.insert(page, &delivery.log.segments), filled.looked)
    }

    /// The bytes of the first line that a page of a source would have.
    private func lineBytes(_ first: UInt64, _ source: Source) -> Int {
        switch source {
        case .block:
            guard let place = window.place(holding: first) else { return 0 }
            return window[place].line(Int(first - window[place].firstSeq), delivery.log.segments).count
        case .stretch(let place):
            let row = stretches.stretches[place].firstRow(from: first)
            let rows = stretches.stretches[place].page.rows
            return row < rows.count ? rows[row].line.count + 1 : 0
        }
    }

    /// Adds the frames of the events from a number on that a group gets to a segment, as far as they fit.
    private func fill(
        _ segment: UInt32, _ first: UInt64, _ source: Source, _ format: WireFormat, _ group: UInt32
    ) -> (last: UInt64, isFull: Bool, looked: Int) {
        switch source {
        case .block:
            let through = min(head, first + UInt64(Self.replayLookMax) - 1)
            return fill(segment, first...through, format, group)
        case .stretch(let place): return fill(segment, first, of: stretches.stretches[place], format, group)
        }
    }

    private func fill(
        _ segment: UInt32, _ first: UInt64, of stretch: StoredStretch, _ format: WireFormat, _ group: UInt32
    ) -> (last: UInt64, isFull: Bool, looked: Int) {
        let wanted = stretch.wanted(subscriptions[group].patterns)
        let types = subscriptions[group].types
        let now = UInt32(truncatingIfNeeded: delivery.loop.now)
        let page = stretch.page
        let start = stretch.firstRow(from: first)
        var place = start
        while place < page.rows.count, page.rows[place].seq <= stretch.last {
            let row = page.rows[place]
            if wanted[row.channel], page.isWanted(row, types) {
                let fits = page.bytes.withUnsafeBufferPointer {
                    add(UnsafeBufferPointer(rebasing: $0[row.line]), row.seq, to: segment, format, now)
                }
                guard fits else { return (row.seq - 1, true, place - start) }
            }
            place += 1
        }
        // What lies behind may be another stretch's, or the window's: its pages begin there.
        return (stretch.last, true, place - start + 1)
    }

    /// Adds the frame of an event to a segment, if it fits.
    private func add(
        _ object: UnsafeBufferPointer<UInt8>, _ seq: UInt64, to segment: UInt32, _ format: WireFormat, _ now: UInt32
    ) -> Bool {
        let empty: [UInt8] = []
        // What was stamped is in the line already.
        let stamp = Stamp(members: [], epoch: epoch, seq: seq, timeMilliseconds: 0)
        let byteCount = EventEncoder.byteCount(format, stamp: stamp, channel: empty.span, event: object.span)
        let used = delivery.log.segments[segment].used
        guard Int(used) + byteCount <= Int(delivery.log.segments[segment].capacity),
            Int(delivery.log.segments[segment].markCount) < SegmentStore.marksMax
        else { return false }
        EventEncoder.encode(
            format, stamp: stamp, channel: empty.span, event: object.span,
            into: delivery.log.segments[segment].base + Int(used))
        delivery.log.segments[segment].used = used + UInt32(byteCount)
        delivery.log.segments.mark(segment, seq: seq, writtenAt: now)
        return true
    }

    /// Adds the frames of held events that a group gets to a segment, as far as they fit.
    private func fill(
        _ segment: UInt32, _ events: ClosedRange<UInt64>, _ format: WireFormat, _ group: UInt32
    ) -> (last: UInt64, isFull: Bool, looked: Int) {
        var matcher = ChannelMatcher(subscriptions[group].patterns)
        let now = UInt32(truncatingIfNeeded: delivery.loop.now)
        var seq = events.lowerBound
        var place = window.place(holding: seq)!
        while seq <= events.upperBound {
            let block = window[place]
            let inBlock = Int(seq - block.firstSeq)
            if matcher.matches(block.events[inBlock].channel, channels), isWanted(block, inBlock, group) {
                let line = block.line(inBlock, delivery.log.segments)
                guard add(UnsafeBufferPointer(rebasing: line.dropLast()), seq, to: segment, format, now) else {
                    return (seq - 1, true, Int(seq - events.lowerBound))
                }
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
