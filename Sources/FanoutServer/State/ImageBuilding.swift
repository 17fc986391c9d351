/// How an image is made of the rows of several channels, some of them in each turn.

import Planted
import Wire

/// An image in the making: where it is in each channel's rows.
struct ImageBuilder {
    /// What comes next of one channel.
    struct Cursor: BitwiseCopyable {
        var seq: UInt64
        var channel: UInt32
        /// The row in the channel's table.
        var row: UInt32

        func isBefore(_ other: Cursor) -> Bool { (seq, channel) < (other.seq, other.channel) }
    }

    let serial: UInt32
    /// Channels whose first row is still looked for, from their newest one back: each with the row that this has come
    /// to. That one is part of the image, and so it stays until the image is built.
    private(set) var seeking: [(channel: UInt32, row: UInt32)] = []
    /// A heap: no cursor is before the one at half its place.
    private(set) var cursors: [Cursor] = []

    init(serial: UInt32) { self.serial = serial }

    /// The channel whose next row has the smallest number, of those whose first row was found.
    var first: Cursor? { cursors.first }

    /// Whether no row is left.
    var isDone: Bool { seeking.isEmpty && cursors.isEmpty }

    /// Begins to look for a channel's first row at its newest one.
    mutating func seek(_ channel: UInt32, from row: UInt32) { seeking.append((channel, row)) }

    /// Goes back by a row in the channel that is looked at, or, with nil, is done with that.
    mutating func goBack(to row: UInt32?) {
        if let row { seeking[seeking.count - 1].row = row } else { seeking.removeLast() }
    }

    mutating func add(_ cursor: Cursor) {
        cursors.append(cursor)
        var place = cursors.count - 1
        while place > 0, cursors[place].isBefore(cursors[(place - 1) / 2]) {
            cursors.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    /// The first channel has come further, or to its end. O(log channels).
    mutating func replaceFirst(by cursor: Cursor?) {
        if let cursor {
            cursors[0] = cursor
        } else {
            let last = cursors.removeLast()
            if cursors.isEmpty { return }
            cursors[0] = last
        }
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2]
            where child < cursors.count && cursors[child].isBefore(cursors[least]) {
                least = child
            }
            if least == place { return }
            cursors.swapAt(place, least)
            place = least
        }
    }
}

extension Hub {
    /// What looking at a row costs beside its bytes, in bytes.
    private static let rowWork = 64

    /// Begins an image: from here on it is known as of which event it is. O(channels).
    func beginImage(_ index: Int) {
        let channels = channelsWithState(of: images[index].patterns)
        images[index].stage = .building
        images[index].head = head
        images[index].version = images.version
        images[index].areTablesKnown = channels.count <= StateImages.tablesCompared
        images[index].place = head
        var builder = ImageBuilder(serial: images[index].serial)
        states.beginWalk(head: head)
        let isAll = images[index].kind == .rows
        if !isAll { states.walkPassed(below: images[index].after &+ 1) }
        for channel in channels {
            let table = self.channels[channel].state
            if images[index].areTablesKnown { images[index].tables.append((table, states[table].version)) }
            if let place = states[table].asOf {
                images[index].place = min(images[index].place, place)
                if isMadeByPut(channel) { images[index].hasUnnumbered = true }
            }
            // All of them are taken now, also where there is no row: what comes later is not part of it.
            if isAll {
                let row = states[table].first
                guard row != StateRow.none else { continue }
                builder.add(ImageBuilder.Cursor(seq: states[table][row].seq, channel: channel, row: row))
            } else {
                let row = states[table].last
                guard row != StateRow.none, states[table][row].seq > images[index].after else { continue }
                builder.seek(channel, from: row)
            }
        }
        images.builder = builder
        if builder.isDone { finishImage(index) }
    }

    /// Whether a channel's rows are no events, but what `PUT /v1/snapshot` said.
    private func isMadeByPut(_ channel: UInt32) -> Bool {
        producedPlace(of: channel) != nil && channels[channel].rules.checks?.state == nil
    }

    /// Whether nothing has been published since an image was begun, and no state was replaced.
    func isExact(_ image: StateImage) -> Bool {
        image.stage != .waiting && image.head == head && image.version == images.version
    }

    /// Whether an image is what would be made now but for its place, or as good for somebody who comes: what was
    /// published since is held.
    func isGoodForNew(_ image: StateImage) -> Bool {
        if image.stage != .complete || isExact(image) { return true }
        if newestGone(after: image.place, for: image.patterns) != nil { return false }
        if image.areTablesKnown, image.version == images.version,
            image.tables.allSatisfy({ states[$0.table].version == $0.version })
        {
            return true
        }
        return image.byteCount > StateImages.smallBytes
            && delivery.loop.now - image.builtAt < StateImages.sharedMilliseconds
    }

    /// Goes on with an image that is being built. Returns what that cost, in bytes.
    func buildImage(_ index: Int, bytesMax: Int) -> Int {
        var work = seekRows(behind: images[index].after, bytesMax: bytesMax)
        guard images.builder?.seeking.isEmpty ?? true else { return work }
        let limit = images[index].place
        let withRemoved = images[index].kind == .changes && !isPlanted("removalMissingInChanges")
        while work < bytesMax, let cursor = images.builder?.first {
            let table = channels[cursor.channel].state
            let row = states[table][cursor.row]
            // What is behind the place is brought by replay, but for what was never published.
            let isWanted = row.seq <= limit || isMadeByPut(cursor.channel)
            if isWanted, withRemoved || !row.isRemoved, isOfKind(row, cursor.channel, images[index].types) {
                work += add(row, to: index)
            }
            work += Self.rowWork
            let next = states.step(table, over: cursor.row)
            images.builder?.replaceFirst(by: nextCursor(cursor.channel, next, upTo: images[index].head))
            if let first = images.builder?.first { states.walkPassed(below: first.seq) }
        }
        if images.builder?.isDone ?? true { finishImage(index) }
        return work
    }

    /// Goes on looking for the first row behind a place in each channel. Returns what that cost.
    private func seekRows(behind after: UInt64, bytesMax: Int) -> Int {
        var work = 0
        while work < bytesMax, let back = images.builder?.seeking.last {
            let table = channels[back.channel].state
            var place = back.row
            var row = states[table][place]
            var isFound = false
            repeat {
                work += Self.rowWork
                guard row.previous != StateRow.none else {
                    isFound = true
                    break
                }
                let before = states[table][row.previous]
                isFound = before.seq <= after
                if !isFound { (place, row) = (row.previous, before) }
            } while !isFound && work < bytesMax
            if isFound {
                images.builder?.goBack(to: nil)
                images.builder?.add(ImageBuilder.Cursor(seq: row.seq, channel: back.channel, row: place))
            } else {
                images.builder?.goBack(to: place)
            }
        }
        return work
    }

    /// Rows that came after the image was begun are none of its business, and neither is what follows them.
    private func nextCursor(_ channel: UInt32, _ row: UInt32, upTo last: UInt64) -> ImageBuilder.Cursor? {
        guard row != StateRow.none else { return nil }
        let seq = states[channels[channel].state][row].seq
        return seq <= last ? ImageBuilder.Cursor(seq: seq, channel: channel, row: row) : nil
    }

    private func finishImage(_ index: Int) {
        images.builder = nil
        states.endWalk()
        images[index].stage = .complete
        images[index].builtAt = delivery.loop.now
        images.made &+= 1
    }

    /// Whether a row is of one of these kinds; none means all.
    private func isOfKind(_ row: StateRow, _ channel: UInt32, _ types: [[UInt8]]) -> Bool {
        if types.isEmpty { return true }
        var rules = channels[channel].rules.event
        // What was stamped is in the line.
        rules.stamp = []
        rules.eventBytesMax = .max
        let line = row.bytes
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: line.count) { room in
            guard let base = room.baseAddress,
                let record = try? JSONScanner.compact(line.span, rules: rules, into: base), let kind = record.kind
            else { return false }
            let text = UnsafeBufferPointer(start: base + Int(kind.start), count: Int(kind.count))
            return SubscriberGroup.accepts(text.span, isEscaped: record.kindIsEscaped, types)
        }
    }

    /// Adds the frame of a row to an image; the bytes it takes.
    private func add(_ row: StateRow, to index: Int) -> Int {
        let form = images[index].form
        let isFirst = images[index].count == 0
        // Nobody can go on from a row that has no number of its own, nor from one that such rows follow.
        let cursor = images[index].hasUnnumbered ? nil : Cursor(epoch: epoch, seq: row.seq)
        let byteCount = RowFrame.byteCount(form, Int(row.count), cursor, isFirst: isFirst)
        let segment = room(for: byteCount, in: index)
        let used = delivery.log.segments[segment].used
        RowFrame.write(
            form, row.bytes, cursor, isFirst: isFirst, into: delivery.log.segments[segment].base + Int(used))
        delivery.log.segments[segment].used = used + UInt32(byteCount)
        if !form.isAnswer {
            delivery.log.segments.mark(
                segment, seq: cursor?.seq ?? 0, writtenAt: UInt32(truncatingIfNeeded: delivery.loop.now))
        }
        images[index].count += 1
        images[index].byteCount += byteCount
        return byteCount
    }

    /// The segment that the next frame of an image goes to.
    private func room(for byteCount: Int, in index: Int) -> UInt32 {
        if let last = images[index].segments.last,
            Int(delivery.log.segments[last].capacity - delivery.log.segments[last].used) >= byteCount,
            Int(delivery.log.segments[last].markCount) < SegmentStore.marksMax
        {
            return last
        }
        let segment = delivery.log.segments.take(
            chain: images[index].form.chain, bytesMin: max(delivery.log.segments.segmentBytes, byteCount))
        images[index].segments.append(segment)
        return segment
    }
}
