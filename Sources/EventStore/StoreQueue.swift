/// What the loop and the store's thread hand each other: bounded on the way in, never waited for.

import Synchronization

/// What is on its way to the disk: given to the queue, and not stored yet.
package struct StoreLoad: Sendable, Equatable {
    package var events = 0
    package var bytes = 0

    package init() {}
}

/// The way to the store's thread and back. The loop's methods take a lock that nobody holds for long.
package final class StoreQueue: Sendable {
    /// Events on their way at most, and bytes of them.
    package static let eventsMax = 65_536
    package static let bytesMax = 32 << 20
    /// Requests on their way at most, those that the thread has taken included: more pages than this would only wait.
    package static let requestsMax = 4096

    struct State {
        var waiting = StoreBatch()
        var requests: [StoreRequest] = []
        /// Requests that the thread has taken and not answered.
        var takenRequests = 0
        /// Events and bytes that the thread has taken and not finished.
        var takenEvents = 0
        var takenBytes = 0
        var report = StoreReport()
        /// Whether the loop has not seen what the report says.
        var isNews = false
        /// The greatest number given to an event; set when the store is to be closed.
        var closing: UInt64?

        var load: StoreLoad {
            var load = StoreLoad()
            load.events = takenEvents + waiting.eventCount
            load.bytes = takenBytes + waiting.byteCount
            return load
        }
    }

    let state: Mutex<State>
    let bell: Doorbell
    private let signal: @Sendable () -> Void

    /// - Parameter signal: called on the store's thread when there is a report to take; it should do no more than wake
    ///   the loop.
    package init(signal: @escaping @Sendable () -> Void) throws(StoreFault) {
        state = Mutex(State())
        bell = try Doorbell()
        self.signal = signal
    }

    /// Hands a batch over, in the order of its numbers, and leaves an empty one with memory for the next. Returns what
    /// is on its way now. Its bytes are not copied unless the thread is behind.
    @discardableResult
    package func append(_ batch: inout StoreBatch) -> StoreLoad {
        let load = state.withLock { state in
            if state.waiting.isEmpty {
                swap(&state.waiting, &batch)
            } else {
                state.waiting.append(contentsOf: batch)
            }
            return state.load
        }
        batch.removeAll()
        bell.ring()
        return load
    }

    /// What the thread has said last, whether or not it was taken.
    package var latest: StoreReport { state.withLock { $0.report } }

    /// What is on its way.
    package var load: StoreLoad { state.withLock { $0.load } }

    /// Asks for something; false where too much was asked already, and nothing was taken.
    package func ask(_ request: StoreRequest) -> Bool {
        let isTaken = state.withLock { state in
            if case .ended = state.report.state { return false }
            guard state.requests.count + state.takenRequests < Self.requestsMax else { return false }
            state.requests.append(request)
            return true
        }
        if isTaken { bell.ring() }
        return isTaken
    }

    /// Takes what has happened since the last time; nil where nothing has. Lists are handed over, numbers stay.
    package func takeReport() -> StoreReport? {
        let report: StoreReport? = state.withLock { state in
            guard state.isNews else { return nil }
            state.isNews = false
            let report = state.report
            state.report.pages = []
            state.report.pruned = []
            state.report.removed = []
            return report
        }
        // The thread has stopped reading because nobody took what it had read.
        if let report, report.pages.count >= StoreLimits.untakenPagesMax { bell.ring() }
        return report
    }

    /// Asks the store to store what was given to it, and to end. The end is reported.
    /// - Parameter used: the greatest number that was given to any event.
    package func close(used: UInt64) {
        state.withLock { $0.closing = used }
        bell.ring()
    }

    /// Changes the report, and wakes the loop. Of the store's thread.
    func report(_ body: (inout StoreReport) -> Void) {
        state.withLock { state in
            body(&state.report)
            state.isNews = true
        }
        signal()
    }
}
