/// Requests for a past that memory does not hold: they wait while the database is read for them.

import EventStore
import Reactor
import Wire

/// The requests that wait.
struct StoredHistory {
    /// How many may wait, and for how many of them pages are asked for at the same time. Others come in turn.
    static let countMax = 64
    static let askedMax = 8

    /// A request. Its connection takes nothing more until it was answered.
    struct Waiting {
        /// Whose it is. The slot may be somebody else's by the time.
        var socket: SocketID
        var asked: HistoryRequest
        /// The page that was asked for.
        var ticket: UInt64
    }

    /// Those for whom a page was asked for, and those who wait for that.
    var reading: [Waiting] = []
    var waiting: [Waiting] = []
    /// Pages that have come since the start.
    var pages: UInt64 = 0

    var count: Int { reading.count + waiting.count }

    /// What they have found so far takes in memory.
    var bytesHeld: Int {
        reading.reduce(0) { $0 + $1.asked.search.byteCount } + waiting.reduce(0) { $0 + $1.asked.search.byteCount }
    }
}

extension Engine {
    /// Makes a request wait for what memory does not hold.
    func readHistory(_ slot: UInt32, _ asked: HistoryRequest) throws(PublishFault) {
        guard ending == nil else { throw PublishFault(HTTPFault.shuttingDown) }
        guard storedHistory.count < StoredHistory.countMax, hasMemory() else {
            memory.refusals &+= 1
            throw .noMemoryForHistory
        }
        delivery.connections[slot].waitingAnswers += 1
        pauseInput(slot)
        storedHistory.waiting.append(
            StoredHistory.Waiting(socket: delivery.connections.socket(slot), asked: asked, ticket: 0))
    }

    /// Asks for the next pages, first come first served. Not while a request is handled: where nothing can be asked for
    /// it is answered here, and its connection goes on with what follows.
    func askForHistory() {
        while storedHistory.reading.count < StoredHistory.askedMax, let next = storedHistory.waiting.first {
            storedHistory.waiting.removeFirst()
            if isWaiting(next) { ask(next) }
        }
    }

    /// Whether the client is still there.
    private func isWaiting(_ waiting: StoredHistory.Waiting) -> Bool {
        let connection = delivery.connections.records + Int(waiting.socket.slot)
        return connection.pointee.socket == waiting.socket && connection.pointee.isAwaiting
    }

    private func ask(_ request: StoredHistory.Waiting) {
        guard let next = request.asked.search.next, let storage else { return finish(request) }
        var request = request
        request.ticket = nextStoreTicket()
        let search = request.asked.search
        let query = StoreQuery(
            search.newestFirst ? .before(next + 1) : .after(next - 1),
            channels: Hub.channelsToRead(by: search.wanted.patterns))
        guard storage.queue.ask(.page(ticket: request.ticket, query)) else {
            return finish(request, fault: PublishFault(HTTPFault.shuttingDown))
        }
        storedHistory.reading.append(request)
    }

    /// A page has come, or could not be read.
    func takeHistoryPage(_ ticket: UInt64, _ result: Result<StoredPage, StoreFault>) {
        guard let index = storedHistory.reading.firstIndex(where: { $0.ticket == ticket }) else { return }
        var request = storedHistory.reading.remove(at: index)
        defer { askForHistory() }
        guard isWaiting(request) else { return }
        storedHistory.pages &+= 1
        switch result {
        case .failure(let fault):
            log.error("the past could not be read: \(fault.description)")
            finish(request, fault: .unreadableHistory)
        case .success(let page):
            let before = (request.asked.search.next, request.asked.search.workDone)
            hub.look(through: page, in: &request.asked.search)
            hub.extraWork &+= UInt64(request.asked.search.workDone - before.1)
            lookIntoMemory(&request.asked)
            // The database may be behind memory, where that had no room: the rest can be asked for later.
            if request.asked.search.next == before.0 { request.asked.search.stop() }
            if request.asked.search.next == nil {
                finish(request)
            } else if !hasMemory() {
                memory.refusals &+= 1
                finish(request, fault: .noMemoryForHistory)
            } else {
                // Behind those who had no page yet.
                storedHistory.waiting.append(request)
            }
        }
    }

    private func finish(_ request: StoredHistory.Waiting, fault: PublishFault? = nil) {
        let slot = request.socket.slot
        let connection = delivery.connections.records + Int(slot)
        connection.pointee.waitingAnswers -= 1
        var asked = request.asked
        // What came behind the request and could not be kept was thrown away.
        if connection.pointee.flags.contains(.skipsLine) { asked.keepAlive = false }
        if let fault {
            respond(slot, fault, withBody: asked.withBody, keepAlive: asked.keepAlive, asked.fields)
        } else {
            respond(slot, asked)
        }
        goOn(slot)
    }

    /// The server stops: nobody waits any more.
    func endHistories() {
        let requests = storedHistory.reading + storedHistory.waiting
        storedHistory.reading = []
        storedHistory.waiting = []
        for request in requests where isWaiting(request) {
            finish(request, fault: PublishFault(HTTPFault.shuttingDown))
        }
    }
}

extension PublishFault {
    /// The disk failed: nothing can be said of the past now.
    fileprivate static var unreadableHistory: PublishFault {
        PublishFault(500, "internal", "the past could not be read from the database: its log says why")
    }
}
