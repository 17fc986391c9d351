/// Replay of what memory does not hold: pages asked of the database, and who waits for them.

import EventStore
import Wire

/// Readers whose next events are to be read from the database.
///
/// ```
///  continueReplay --not at hand--> waits --page comes--> queue of replays --its turn--> is sent a part of it
///                                    |  ^ room
///                                    +--+ as many pages are asked for, or waited for, as may be
/// ```
struct StoredReplay {
    /// Readers of everything ask from places that are so far apart, so that those who come back to places near each
    /// other ask for the same.
    static let placeStep: UInt64 = 256
    /// Places that a list of readers may have in any case.
    static let listKept = 64

    /// A page that was asked for.
    struct Request {
        var ticket: UInt64
        /// It begins behind this number.
        var place: UInt64
        /// The channels in it, sorted; nil is all.
        var channels: [String]?
        /// Those who wait for it. Some of them may be gone, or want something else by now.
        var readers: [UInt32]
    }

    /// Pages that were asked for and have not come.
    var requests: [Request] = []
    /// Readers for whom nothing could be asked yet, first come first served.
    var waiting: [UInt32] = []
    /// Readers that are before the database: what comes next for them is not stored yet, and memory had no room for it.
    var early: [UInt32] = []
    /// Pages that have come since the start, and those of them that could not be read.
    var pages: UInt64 = 0
    var failures: UInt64 = 0
}

extension Engine {
    /// A reader needs what memory does not hold: it waits until that was read.
    func awaitStored(_ slot: UInt32) {
        delivery.connections[slot].flags.insert(.awaitsStore)
        // Who joins others takes nobody's place.
        if !askStored(for: slot, exactly: false, mayBegin: storedReplay.waiting.isEmpty && hasRoomForStored) {
            add(slot, to: &storedReplay.waiting)
        }
    }

    /// Adds a reader to a list. Those who have gone stay in it until it has twice as many places as there are readers
    /// who replay.
    private func add(_ slot: UInt32, to list: inout [UInt32]) {
        if list.count >= 2 * hub.replayingCount + StoredReplay.listKept {
            var known: Set<UInt32> = []
            list.removeAll { !awaitsStored($0) || !known.insert($0).inserted }
        }
        list.append(slot)
    }

    /// Whether one more page may be asked for.
    private var hasRoomForStored: Bool {
        storedReplay.requests.count + hub.stretches.pinnedCount(turns: replayTurns) < StoredStretches.countMax
    }

    /// Makes a reader wait for the page that it needs, asked for already or, with `mayBegin`, now. False if it has to
    /// wait for that.
    private func askStored(for slot: UInt32, exactly: Bool, mayBegin: Bool) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        let channels = hub.channelsToRead(by: connection.pointee.group)
        var place = connection.pointee.replaySeq
        // No page has what was lost: that is said in between.
        if channels == nil, !exactly {
            place = max(place - place % StoredReplay.placeStep, storage?.epochs.lastLost(upTo: place) ?? 0)
        }
        if let same = storedReplay.requests.firstIndex(where: { $0.place == place && $0.channels == channels }) {
            add(slot, to: &storedReplay.requests[same].readers)
            return true
        }
        guard mayBegin, let storage else { return false }
        let ticket = nextStoreTicket()
        guard storage.queue.ask(.page(ticket: ticket, StoreQuery(.after(place), channels: channels))) else {
            // It has ended, and with it the server.
            delivery.connections[slot].flags.remove(.awaitsStore)
            bye(slot, .internalError)
            return true
        }
        storedReplay.requests.append(
            StoredReplay.Request(ticket: ticket, place: place, channels: channels, readers: [slot]))
        return true
    }

    /// Asks for readers that had to wait, as far as there is room.
    func askForWaiting() {
        var taken = 0
        while taken < storedReplay.waiting.count {
            let slot = storedReplay.waiting[taken]
            if awaitsStored(slot), !askStored(for: slot, exactly: false, mayBegin: hasRoomForStored) { break }
            taken += 1
        }
        if taken > 0 { storedReplay.waiting.removeFirst(taken) }
    }

    private func awaitsStored(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        return connection.pointee.isLive && connection.pointee.flags.isSuperset(of: [.replaying, .awaitsStore])
    }

    /// A page has come, or none could be read. False if nobody who replays has asked for it.
    func takeStoredPage(_ ticket: UInt64, _ result: Result<StoredPage, StoreFault>) -> Bool {
        guard let index = storedReplay.requests.firstIndex(where: { $0.ticket == ticket }) else { return false }
        let request = storedReplay.requests.remove(at: index)
        let readers = request.readers.filter(awaitsStored)
        switch result {
        case .success(let page):
            storedReplay.pages &+= 1
            if !readers.isEmpty { serve(readers, request, page) }
        case .failure(let fault):
            storedReplay.failures &+= 1
            log.error("what readers come back for could not be read: \(fault.description)")
            for slot in readers {
                delivery.connections[slot].flags.remove(.awaitsStore)
                bye(slot, .internalError)
            }
        }
        return true
    }

    /// Gives readers their turns to be sent what has come.
    private func serve(_ readers: [UInt32], _ request: StoredReplay.Request, _ page: StoredPage) {
        // It may be ahead of what anybody has seen.
        var last = min(page.reached, hub.head)
        if let ended = storage?.epochs.nextLoss(after: request.place) { last = min(last, ended.lastSeq) }
        var later: [UInt32] = []
        for slot in readers {
            let next = delivery.connections[slot].replaySeq + 1
            if next > request.place, next <= last || next >= hub.oldestHeld {
                delivery.connections[slot].flags.remove(.awaitsStore)
                awaitReplay(slot)
            } else {
                later.append(slot)
            }
        }
        if last > request.place {
            var stretch = StoredStretch(page, of: request.channels, first: request.place + 1, last: last)
            if later.count < readers.count { stretch.pinnedUntil = replayTurns + UInt64(replays.count) }
            hub.stretches.insert(stretch, turns: replayTurns)
        }
        for slot in later {
            if request.place == delivery.connections[slot].replaySeq {
                storedReplay.early.append(slot)
            } else if !askStored(for: slot, exactly: true, mayBegin: true) {
                add(slot, to: &storedReplay.waiting)
            }
        }
    }

    /// The database has stored more.
    func resumeEarlyReaders() {
        let slots = storedReplay.early
        storedReplay.early.removeAll()
        for slot in slots where awaitsStored(slot) {
            delivery.connections[slot].flags.remove(.awaitsStore)
            awaitReplay(slot)
        }
    }
}
