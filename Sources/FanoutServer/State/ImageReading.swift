/// Readers that are sent the present state: they wait for an image, are sent it, and go on from its place.

import Planted
import Wire

// ```
//  startStream --from=snapshot--> waits for an image --complete--> is sent it, a segment a turn --+
//  endSkipping --conflate, resnapshot--> waits, and skips --begun--^                              |
//                                                       replays what is behind its place <--------+
// ```
extension Engine {
    /// Whose stream begins with the state: the next image is its.
    func awaitState(_ slot: UInt32) {
        let index = imageForNew(slot)
        enterImage(slot, index)
    }

    private func enterImage(_ slot: UInt32, _ index: Int) {
        let connection = delivery.connections.records + Int(slot)
        let serial = hub.images[index].serial
        connection.pointee.flags.insert(.inImage)
        connection.pointee.replaySeq = ImagePlace(serial: serial).packed
        hub.images[index].readers += 1
        if hub.images[index].stage == .complete {
            imageIsComplete(slot, index)
        } else {
            connection.pointee.flags.insert(.awaitsImage)
            hub.images[index].waiting.append(slot)
        }
    }

    /// An image for somebody who comes: one that others have asked for, if it is good enough.
    private func imageForNew(_ slot: UInt32) -> Int {
        let group = hub.subscriptions[delivery.connections[slot].group]
        let form = StateImage.Form(delivery.connections[slot].transport.format)
        return image(group.patterns, group.types, form, .rows) { hub.isGoodForNew($0) }
    }

    /// An image of what these patterns and kinds ask for: one that is there and `isGood`, else a new one that waits to
    /// be built. O(images).
    func image(
        _ patterns: [ChannelPattern], _ types: [[UInt8]], _ form: StateImage.Form, _ kind: StateImage.Kind,
        where isGood: (StateImage) -> Bool
    ) -> Int {
        let key = StateImage.key(patterns, types)
        let found = hub.images.images.lastIndex {
            $0.form == form && $0.kind == kind && $0.key == key && isGood($0)
        }
        return found ?? hub.images.add(patterns, types, key: key, form, kind)
    }

    // MARK: Laggards

    /// A reader that skips takes bytes again, and is to be brought up to date: it goes on skipping until an image is
    /// begun for it, so that what it misses is counted until exactly there.
    func awaitStateSkipping(_ slot: UInt32, _ kind: StateImage.Kind) {
        let connection = delivery.connections.records + Int(slot)
        let group = hub.subscriptions[connection.pointee.group]
        let form = StateImage.Form(connection.pointee.transport.format)
        let place = connection.pointee.queuedSeq
        let index = image(group.patterns, group.types, form, kind) {
            $0.stage == .waiting || hub.isExact($0) && $0.place == hub.head && (kind == .rows || $0.after <= place)
        }
        if hub.images[index].stage == .waiting {
            connection.pointee.flags.insert(.awaitsImage)
            connection.pointee.replaySeq = ImagePlace(serial: hub.images[index].serial).packed
            hub.images[index].waiting.append(slot)
        } else {
            stopSkipping(slot, at: hub.images[index].place)
            enterImage(slot, index)
        }
    }

    /// A reader that skipped becomes one that replays. Its next event is behind `place`.
    private func stopSkipping(_ slot: UInt32, at place: UInt64) {
        let connection = delivery.connections.records + Int(slot)
        connection.pointee.flags.subtract([.skipping, .awaitsImage])
        connection.pointee.flags.insert(.wasLagging)
        hub.leave(slot, toReplayAfter: place)
    }

    /// A reader that fell behind while it was sent a state does not hold that any more. One that does not have all of
    /// what is true is sent it again.
    func leaveState(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        let serial = ImagePlace(packed: connection.pointee.replaySeq).serial
        let kind = hub.images.index(of: serial).map { hub.images[$0].kind }
        hub.leaveImage(slot)
        if kind == .rows, !isPlanted("halfStateIsEnough") { connection.pointee.flags.insert(.needsState) }
    }

    /// Whether a connection waits for an image.
    private func awaits(_ slot: UInt32, _ serial: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        return connection.pointee.isLive && connection.pointee.flags.contains(.awaitsImage)
            && ImagePlace(packed: connection.pointee.replaySeq).serial == serial
    }

    // MARK: Building

    /// Goes on with images, first asked first, as far as the turn's share goes. Returns the bytes of it that it took.
    func continueImages() -> Int {
        var bytes = 0
        while bytes < shares.replayBytes, let index = nextImage() {
            if hub.images[index].stage == .waiting, !begin(index) { continue }
            let serial = hub.images[index].serial
            bytes += hub.buildImage(index, bytesMax: shares.replayBytes - bytes)
            if hub.images[index].stage == .complete { bytes += serve(serial) }
        }
        return bytes
    }

    private func nextImage() -> Int? {
        hub.images.waitsForMemory = false
        if let builder = hub.images.builder { return hub.images.index(of: builder.serial) }
        guard let next = hub.images.images.firstIndex(where: { $0.stage == .waiting }) else { return nil }
        if hub.images.images.contains(where: { $0.stage == .complete }), !hasMemory(for: hub.imageBytes(next)) {
            hub.images.trim(keepsSome: false, &delivery.log.segments)
            // Who reads another one will have read it, or is a laggard, before long.
            hub.images.waitsForMemory = hub.images.images.contains { $0.stage == .complete }
            if hub.images.waitsForMemory { return nil }
            return hub.images.images.firstIndex { $0.stage == .waiting }
        }
        return next
    }

    /// Begins an image: whoever skips and waits for it has missed what was published until now, and no more. False if
    /// there is nobody any more who wants it.
    private func begin(_ index: Int) -> Bool {
        let serial = hub.images[index].serial
        let waiting = hub.images[index].waiting.filter { awaits($0, serial) }
        let skipping = waiting.filter { delivery.connections[$0].flags.contains(.skipping) }
        hub.images[index].waiting = waiting
        if hub.images[index].kind == .changes {
            let known = hub.removalsKnown(of: hub.images[index].patterns)
            // What was removed behind its place is not known any more: it is sent everything that is true.
            let late = waiting.filter { slot in known.map { $0 > delivery.connections[slot].queuedSeq } ?? true }
            hub.images[index].waiting.removeAll { late.contains($0) }
            for slot in late where awaits(slot, serial) {
                delivery.connections[slot].flags.remove(.awaitsImage)
                awaitStateSkipping(slot, .rows)
            }
            hub.images[index].after =
                hub.images[index].waiting.reduce(UInt64.max) { min($0, delivery.connections[$1].queuedSeq) }
        }
        guard !hub.images[index].waiting.isEmpty || !hub.images[index].answers.isEmpty else {
            hub.images.remove(at: index, &delivery.log.segments)
            return false
        }
        hub.beginImage(index)
        let place = hub.images[index].place
        // One that has asked for something else meanwhile may be in there twice.
        for slot in skipping where awaits(slot, serial) && delivery.connections[slot].flags.contains(.skipping) {
            let had = delivery.connections[slot].queuedSeq
            stopSkipping(slot, at: max(place, had))
            if place <= had {
                // The state is older than what it has: nothing is lost that the history has.
                delivery.connections[slot].flags.remove(.wasLagging)
                delivery.connections[slot].missed = 0
                delivery.connections[slot].replaySeq = had
                hub.images[index].waiting.removeAll { $0 == slot }
                if delivery.connections[slot].ring.isEmpty { awaitReplay(slot) }
            } else {
                delivery.connections[slot].flags.insert([.inImage, .awaitsImage])
                delivery.connections[slot].replaySeq = ImagePlace(serial: serial).packed
                hub.images[index].readers += 1
            }
        }
        return true
    }

    /// An image is complete: those who wait for it are sent it. Returns the bytes that were queued at once.
    private func serve(_ serial: UInt32) -> Int {
        guard let index = hub.images.index(of: serial) else { return 0 }
        let waiting = hub.images[index].waiting
        let answers = hub.images[index].answers
        hub.images[index].waiting = []
        hub.images[index].answers = []
        var bytes = 0
        for slot in waiting where awaits(slot, serial) {
            delivery.connections[slot].flags.remove(.awaitsImage)
            bytes += imageIsComplete(slot, index, atOnce: bytes < shares.replayBytes)
        }
        for answer in answers { self.answer(answer, hub.images[index]) }
        return bytes
    }

    /// A reader's image is complete. A small one that is still up to date is sent at once, and with that its reader is
    /// live: where no history is held nothing comes between.
    @discardableResult
    private func imageIsComplete(_ slot: UInt32, _ index: Int, atOnce: Bool = true) -> Int {
        let connection = delivery.connections.records + Int(slot)
        let image = hub.images[index]
        if atOnce, image.segments.count <= 1, image.place == hub.head, connection.pointee.pendingEvents == 0 {
            return continueImage(slot)
        }
        if connection.pointee.ring.isEmpty { awaitReplay(slot) }
        return 0
    }

    // MARK: Sending

    /// Queues the next segment of its image for a reader; after the last one it goes on from the image's place.
    func continueImage(_ slot: UInt32) -> Int {
        let connection = delivery.connections.records + Int(slot)
        var place = ImagePlace(packed: connection.pointee.replaySeq)
        guard let index = hub.images.index(of: place.serial) else {
            preconditionFailure("an image that is read is held")
        }
        if place.segment == 0 {
            // What waited of an earlier subscription has gone out: no event of this one has.
            connection.pointee.sentSeq = connection.pointee.queuedSeq
            sayState(slot, hub.images[index])
        }
        let had = connection.pointee.queuedSeq
        let count = hub.images[index].segments.count
        var bytes = 0
        while bytes == 0, place.segment < count {
            let segment = hub.images[index].segments[Int(place.segment)]
            place.segment += 1
            bytes += queue(segment, of: hub.images[index], behind: had, for: slot)
        }
        connection.pointee.replaySeq = place.packed
        if place.segment == count { finishImage(slot, index) }
        return bytes
    }

    /// Queues a segment; of changes, those behind a place.
    private func queue(_ index: UInt32, of image: StateImage, behind had: UInt64, for slot: UInt32) -> Int {
        let segment = delivery.log.segments[index]
        let begin = isPlanted("changesBegunTooLate") ? had + 1 : had
        let skipped = image.kind == .changes ? segment.marksUp(to: begin) : 0
        guard skipped < segment.markCount, let marks = segment.marks else { return 0 }
        let start = skipped == 0 ? 0 : marks[Int(skipped) - 1].end
        let last = marks[Int(segment.markCount) - 1].seq
        delivery.queueHistory(
            OutboundRun(segment: index, start: start, count: segment.used - start),
            events: segment.markCount - skipped, through: max(had, last), for: slot)
        return Int(segment.used - start)
    }

    /// Says what comes now: what a reader that fell behind has missed, and that the state begins.
    private func sayState(_ slot: UInt32, _ image: StateImage) {
        let connection = delivery.connections.records + Int(slot)
        let isSilent = connection.pointee.flags.contains(.controlOff)
        let discriminator = hub.discriminator(of: slot)
        let format = connection.pointee.transport.format
        scratch.removeAll(keepingCapacity: true)
        if connection.pointee.flags.contains(.wasLagging), let gap = gapBefore(image, slot) {
            metrics.gaps &+= 1
            // A reader that is cut before it has the rows comes back to where it was.
            let before = Cursor(epoch: hub.epoch, seq: connection.pointee.queuedSeq)
            if !isSilent {
                gap.append(to: &scratch, format: format, discriminator: discriminator.span, eventID: before)
            }
        }
        if image.kind == .rows {
            metrics.snapshots &+= 1
            if !isSilent {
                ControlRecord.snapshot(seq: image.place, count: image.count)
                    .append(to: &scratch, format: format, discriminator: discriminator.span, eventID: nil)
            }
        }
        sayScratch(slot)
    }

    /// What a reader that fell behind will not be sent; nil where the image has all of it.
    private func gapBefore(_ image: StateImage, _ slot: UInt32) -> ControlRecord? {
        let connection = delivery.connections.records + Int(slot)
        let had = connection.pointee.queuedSeq
        var sent: UInt64 = 0
        for index in image.segments {
            let segment = delivery.log.segments[index]
            sent += UInt64(segment.markCount - segment.marksUp(to: had))
        }
        let missed = UInt64(connection.pointee.missed)
        let isKnown = connection.pointee.missed != .max && image.place == image.head && sent <= missed
        connection.pointee.missed = 0
        if isPlanted("sentRowsCountAsDropped") { sent = 0 }
        metrics.caughtUp(image.kind, dropped: isKnown ? missed - sent : 0)
        if isKnown, missed == sent { return nil }
        return .gap(
            why: image.kind == .changes ? .conflated : .lagged, epoch: hub.epoch, from: had + 1, to: image.place,
            dropped: isKnown ? missed - sent : nil)
    }

    /// A reader has been queued all of its image.
    private func finishImage(_ slot: UInt32, _ index: Int) {
        let connection = delivery.connections.records + Int(slot)
        let image = hub.images[index]
        hub.leaveImage(slot)
        if image.kind == .rows, !connection.pointee.flags.contains(.controlOff) {
            let discriminator = hub.discriminator(of: slot)
            scratch.removeAll(keepingCapacity: true)
            ControlRecord.live(seq: image.place, count: image.count)
                .append(
                    to: &scratch, format: connection.pointee.transport.format, discriminator: discriminator.span,
                    eventID: Cursor(epoch: hub.epoch, seq: image.place))
            sayScratch(slot)
            // What stands before a record is sent, whatever comes.
            connection.pointee.sentSeq = image.place
        }
        let place = isPlanted("stateTakenForNewest") ? hub.head : image.place
        connection.pointee.replaySeq = place
        connection.pointee.queuedSeq = place
        if place == hub.head {
            joinLive(slot)
        } else if connection.pointee.ring.isEmpty {
            awaitReplay(slot)
        }
    }
}
