/// What must hold of the history between any two turns, and of those who are sent it.

import Reactor
import Wire

@testable import FanoutServer

/// Counts the window's blocks, the pages and the readers that replay again, from themselves.
struct HistoryAudit {
    let engine: Engine
    private var hub: Hub { engine.hub }
    private var delivery: Delivery { engine.delivery }

    init(_ engine: Engine) { self.engine = engine }

    /// Everything that is wrong. `sightings` learns which states occur.
    func faults(_ sightings: inout Sightings) -> [String] {
        windowFaults() + pageFaults() + readerFaults(&sightings)
    }

    // MARK: The window

    private func windowFaults() -> [String] {
        guard hub.window.isOn else { return hub.window.blockCount == 0 ? [] : ["a window that is off holds something"] }
        var faults: [String] = []
        var events: UInt64 = 0
        var segmentBytes = 0
        var tableBytes = 0
        var next = hub.window.firstSeq
        for place in 0..<hub.window.blockCount {
            let block = hub.window[place]
            let segment = delivery.log.segments[block.segment]
            if block.firstSeq != next {
                faults.append("block \(place) begins with \(block.firstSeq), not \(next as Any)")
            }
            next = block.lastSeq + 1
            events += UInt64(block.count)
            segmentBytes += delivery.log.segments.cost(block.segment)
            tableBytes += block.tableBytes
            if !segment.isHistory || segment.chain != .jsonl || segment.markCount != block.count {
                faults.append("block \(place): its segment is \(segment)")
            } else if segment.marks?[0].seq != block.firstSeq || segment.lastEvent(after: 0, by: .max) != block.lastSeq
            {
                faults.append("block \(place): its marks are not \(block.firstSeq) to \(block.lastSeq)")
            }
        }
        if let next, next != hub.head + 1 { faults.append("\(next - 1) is the newest event held, of \(hub.head)") }
        if hub.head > 0, next == nil { faults.append("nothing is held of \(hub.head) events") }
        if events != hub.window.eventCount {
            faults.append("\(hub.window.eventCount) events held, \(events) are there")
        }
        let counted = hub.window.segmentBytesHeld(delivery.log.segments)
        let held = hub.window.bytesHeld(delivery.log.segments)
        if counted != segmentBytes || held != segmentBytes + tableBytes {
            faults.append("\(counted) and \(held) bytes held, \(segmentBytes) and \(tableBytes) are there")
        }
        return faults + boundFaults(held)
    }

    /// No more is held than may be; and nothing went that there was room for.
    private func boundFaults(_ held: Int) -> [String] {
        var faults: [String] = []
        if held > hub.window.bytesMax, hub.window.blockCount > 1 {
            faults.append("\(held) bytes held, \(hub.window.bytesMax) may be")
        }
        // The block that went last: a segment of usual size or of one event, full of marks, and its table.
        let segment = max(delivery.log.segments.segmentBytes, EventRules().eventBytesMax + 256)
        let frames = min(SegmentStore.marksMax, delivery.log.segments.segmentBytes / 3 + 1)
        let marks = frames * MemoryLayout<FrameMark>.stride + SegmentStore.pageBytes
        let most = segment + marks + 2 * max(512, frames) * MemoryLayout<HeldEvent>.stride
        if hub.oldestHeld > 1, held + most < hub.window.bytesMax {
            faults.append("only \(held) bytes held of \(hub.window.bytesMax), and \(hub.oldestHeld - 1) events went")
        }
        return faults
    }

    /// When all is known: the newest event of each channel that went is the newest one below the oldest held.
    func prunedFaults(_ truth: Truth) -> [String] {
        guard hub.window.isOn, truth.isComplete, truth.head == hub.head else { return [] }
        var newest = [UInt64](repeating: 0, count: Channels.names.count)
        for seq in 1..<max(1, hub.oldestHeld) { newest[truth.offered[truth.atSeq[Int(seq) - 1]].channel] = seq }
        return Channels.names.indices.compactMap { channel in
            guard let name = ChannelName(Channels.names[channel]), let index = hub.channels.index(of: name) else {
                return nil
            }
            let pruned = hub.channels[index].prunedSeq
            return pruned == newest[channel] ? nil : "\(name): \(pruned) went last, it was \(newest[channel])"
        }
    }

    // MARK: The pages

    private func pageFaults() -> [String] {
        let pages = hub.pages.pages
        var faults: [String] = []
        if hub.replayingCount == 0, !pages.isEmpty { faults.append("\(pages.count) pages are kept for nobody") }
        if pages.count > ReplayPages.countMax { faults.append("\(pages.count) pages are kept") }
        for page in pages {
            let segment = delivery.log.segments[page.segment]
            if page.first > page.last + 1 || page.last > hub.head || segment.chain.rawValue != page.format {
                faults.append("a page of \(page.first) to \(page.last) in \(segment.chain)")
            }
            guard segment.markCount > 0, let marks = segment.marks else { continue }
            if marks[0].seq < page.first || marks[Int(segment.markCount) - 1].seq > page.last {
                faults.append("a page of \(page.first) to \(page.last) has \(marks[0].seq) in it")
            }
            for place in 1..<max(1, Int(segment.markCount)) where marks[place].seq <= marks[place - 1].seq {
                faults.append("a page has \(marks[place].seq) after \(marks[place - 1].seq)")
            }
        }
        return faults
    }

    // MARK: Those who come back

    private func readerFaults(_ sightings: inout Sightings) -> [String] {
        var faults: [String] = []
        var replaying = 0
        var waiting = 0
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections[slot]
            guard connection.phase != .free else { continue }
            let flags = connection.flags
            if flags.contains(.awaitsReplay) {
                waiting += 1
                if engine.replays.count(where: { $0 == slot }) != 1 { faults.append("slot \(slot): waits nowhere") }
            }
            if flags.contains(.catchingUp), connection.isLive {
                sightings.catchingUp += 1
                if connection.ring.isEmpty { faults.append("slot \(slot): catches up for ever (\(flags))") }
                if flags.contains(.replaying) { faults.append("slot \(slot): replays as a member") }
            }
            guard flags.contains(.replaying) else { continue }
            replaying += 1
            sightings.replaying += 1
            if !connection.isLive || connection.group == Connection.none {
                faults.append("slot \(slot): replays in \(connection.phase) (\(flags))")
            }
            if flags.contains(.inImage) {
                faults += imageFaults(slot, connection)
                continue
            }
            if connection.replaySeq >= hub.head { faults.append("slot \(slot): replays at the head, \(hub.head)") }
            if connection.ring.isEmpty, !flags.contains(.awaitsReplay) {
                faults.append("slot \(slot): nobody will send it more (\(flags))")
            }
            faults += ringFaults(slot, connection)
        }
        if replaying != hub.replayingCount { faults.append("\(hub.replayingCount) replay, \(replaying) are there") }
        faults += imageCountFaults()
        if waiting != engine.replays.count { faults.append("\(waiting) wait for pages, the list is \(engine.replays)") }
        return faults
    }

    /// Who is sent a state is counted among its readers, and waits for it, or for its turn, or has bytes.
    private func imageFaults(_ slot: UInt32, _ connection: Connection) -> [String] {
        let place = ImagePlace(packed: connection.replaySeq)
        guard let index = hub.images.index(of: place.serial) else {
            return ["slot \(slot): is in an image that is gone"]
        }
        let image = hub.images[index]
        let flags = connection.flags
        if flags.contains(.awaitsImage) {
            return image.stage != .complete && image.waiting.contains(slot) ? [] : ["slot \(slot): waits for ever"]
        }
        if image.stage != .complete { return ["slot \(slot): is sent an image that is not whole"] }
        if connection.ring.isEmpty, !flags.contains(.awaitsReplay) { return ["slot \(slot): nobody will send it more"] }
        return Int(place.segment) < image.segments.count || place.segment == 0 ? [] : ["slot \(slot): is done"]
    }

    /// Each image has the readers that it counts.
    private func imageCountFaults() -> [String] {
        var readers: [UInt32: Int] = [:]
        for slot in 0..<UInt32(delivery.connections.slotsUsed) where delivery.connections[slot].phase != .free {
            let connection = delivery.connections[slot]
            guard connection.flags.contains(.inImage) else { continue }
            readers[ImagePlace(packed: connection.replaySeq).serial, default: 0] += 1
        }
        var faults: [String] = []
        for image in hub.images.images where image.readers != readers[image.serial] ?? 0 {
            faults.append("image \(image.serial) has \(readers[image.serial] ?? 0) readers and counts \(image.readers)")
        }
        return faults
    }

    /// What waits for a reader that replays is one page at most, and lies before the place up to which all is queued.
    private func ringFaults(_ slot: UInt32, _ connection: Connection) -> [String] {
        var faults: [String] = []
        var pages = 0
        connection.ring.forEachFirst(runsMax: .max, bytesMax: .max, blocks: delivery.blocks) { run in
            let segment = delivery.log.segments[run.segment]
            guard segment.chain.rawValue < Chain.control.rawValue else { return }
            pages += 1
            guard connection.queuedSeq == connection.replaySeq else { return }
            if let last = segment.lastEvent(after: run.start, by: run.end), last > connection.replaySeq {
                faults.append("slot \(slot): \(last) is queued, and replayed up to \(connection.replaySeq)")
            }
        }
        // What waited of an earlier subscription comes first, and then nothing of this one is queued yet.
        if pages > 1, connection.queuedSeq == connection.replaySeq {
            faults.append("slot \(slot): \(pages) pages wait for a reader that replays")
        }
        return faults
    }
}
