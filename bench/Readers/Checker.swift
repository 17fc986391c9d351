// The run: connects the readers, lets events be published, and gives every received byte to the checks.

import CLinux
import ClientSockets
import Glibc

/// Where a run is.
enum Stage {
    case connecting, running, settling, holding, stopping, over
}

/// One run over one epoll instance, driven by one thread. The checks are in its extensions, a file per concern.
final class Checker {
    static let settlingReadersMax = 256
    static let connectsPerTurn = 32
    static let bufferBytes = 1 << 20
    static let settleNanoseconds: UInt64 = 200_000_000

    let options: Options
    let book: EventBook
    let streams: Int
    let eventsTotal: Int
    let readers: UnsafeMutablePointer<Reader>
    let readerCount: Int
    let epoll: Int32
    let buffer: UnsafeMutablePointer<UInt8>

    var stage = Stage.connecting
    var publisher: Publisher?
    var epoch: UInt64?
    var progressAt: UInt64 = 0
    var deliveries = 0
    var faults = 0

    // Connecting.
    var nextToConnect = 0
    var readersSettling = 0
    var readersReady = 0
    var readersLive = 0

    // Publishing: `published` events are out, of which live readers still miss `outstanding` deliveries.
    var published = 0
    var outstanding = 0
    var liveUnfiltered = 0
    var liveByStream: [Int]

    var runningSince: UInt64 = 0
    var runningUntil: UInt64 = 0
    var deadline: UInt64 = 0

    init(_ options: Options) throws(Refusal) {
        self.options = options
        book = EventBook(options)
        streams = options.channels.count
        eventsTotal = options.eventsTotal
        readerCount = options.readers
        readers = .allocate(capacity: readerCount)
        readers.initialize(repeating: Reader(), count: readerCount)
        buffer = .allocate(capacity: Self.bufferBytes)
        liveByStream = [Int](repeating: 0, count: streams)
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        if epoll < 0 { throw .unavailable("epoll_create1: \(errorText(errno))") }
        let descriptorsMax = raiseDescriptorLimit()
        if readerCount > descriptorsMax - 16 {
            throw .usage("\(readerCount) readers need more than the \(descriptorsMax) descriptors a process may have")
        }
        layOutReaders()
        if options.serverPID != 0, kill(options.serverPID, 0) != 0 {
            throw .unavailable("--server-pid \(options.serverPID): no such process")
        }
    }

    /// Transports take turns, so that all of them connect, and are served, side by side.
    private func layOutReaders() {
        var left = options.counts
        var index = 0
        while index < readerCount {
            for transport in Transport.allCases where left[Int(transport.rawValue)] > 0 {
                left[Int(transport.rawValue)] -= 1
                readers[index].transport = transport
                if isFiltered(index) { readers[index].stream = UInt16(index / 2 % streams) }
                readers[index].nextEvent = readers[index].isFiltered ? UInt32(readers[index].stream) : 0
                if readers[index].isFiltered, !transport.isHTTP { readers[index].hellosDue = 2 }
                index += 1
            }
        }
    }

    private func isFiltered(_ index: Int) -> Bool {
        switch options.filter {
        case .all: false
        case .channel, .types: true
        case .mixed: index % 2 == 1
        }
    }

    // MARK: The loop

    /// Runs to the end; the number of readers that saw everything.
    func run() throws(Refusal) -> Int {
        progressAt = nanoseconds()
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: 1024)
        defer { events.deallocate() }
        while stage != .over {
            try advance()
            let count = epoll_wait(epoll, events, 1024, waitMilliseconds())
            for place in 0..<max(0, Int(count)) {
                let token = events[place].data.u64
                if token == Publisher.token {
                    try publisher?.ready(self, events[place].events)
                } else {
                    ready(Int(token), events[place].events)
                }
            }
        }
        return report()
    }

    private func waitMilliseconds() -> Int32 {
        switch stage {
        case .connecting: nextToConnect < readerCount && readersSettling < Self.settlingReadersMax ? 1 : 100
        case .running: options.ratePerSecond > 0 && published < eventsTotal ? 1 : 100
        case .settling, .holding: 20
        case .stopping, .over: 100
        }
    }

    private func advance() throws(Refusal) {
        let now = nanoseconds()
        switch stage {
        case .connecting:
            try connectSome()
            if readersReady == readerCount { try begin() }
        case .running:
            try publishNext(now)
            if published == eventsTotal, outstanding == 0 { endRunning(now) }
        case .settling:
            if now >= deadline { enterHolding(now) }
            return
        case .holding:
            if now >= deadline { leave(now) }
            return
        case .stopping:
            if readersLive == 0 { stage = .over }
        case .over: return
        }
        if now > progressAt &+ UInt64(options.stallSeconds) * 1_000_000_000 { try giveUp() }
    }

    /// Nothing has come for too long: the readers that still wait for something have failed; the others go on.
    private func giveUp() throws(Refusal) {
        progressAt = nanoseconds()
        var given = 0
        for index in 0..<readerCount where readers[index].isLive && isUnfinished(readers[index]) {
            drop(index, "nothing for \(options.stallSeconds) s; \(standing(index))")
            given += 1
        }
        if given == 0 { throw .unavailable("the server has been silent for \(options.stallSeconds) s") }
    }

    private func isUnfinished(_ reader: Reader) -> Bool {
        switch stage {
        case .connecting: reader.phase != .streaming
        case .running: reader.pending(before: published, streams: streams) > 0
        default: true
        }
    }

    func standing(_ index: Int) -> String {
        let due = readers[index].due(of: eventsTotal, streams: streams)
        return "got \(readers[index].received) of \(due) events, last seq \(readers[index].lastSeq)"
    }

    // MARK: Stages

    private func begin() throws(Refusal) {
        stage = .running
        runningSince = nanoseconds()
        say("\(readerCount) readers are connected")
        if options.publisher == .none {
            outstanding = pendingOfAll(before: eventsTotal)
            published = eventsTotal
        } else if eventsTotal > 0 {
            publisher = try Publisher(options, self)
        }
    }

    private func endRunning(_ now: UInt64) {
        runningUntil = now
        say("\(deliveries) deliveries")
        stage = .settling
        deadline = now + Self.settleNanoseconds
    }

    private func enterHolding(_ now: UInt64) {
        stage = .holding
        deadline = now + UInt64(options.holdSeconds) * 1_000_000_000
    }

    private func leave(_ now: UInt64) {
        if options.stopServer {
            stage = .stopping
            progressAt = now
            publisher?.leave()
            kill(options.serverPID, SIGTERM)
            say("SIGTERM to \(options.serverPID)")
        } else {
            stage = .over
        }
    }

    // MARK: Readiness

    private func ready(_ index: Int, _ events: UInt32) {
        if readers[index].phase == .connecting {
            connected(index)
        } else if readers[index].isLive {
            receive(index)
        }
    }

    private func receive(_ index: Int) {
        let reader = readers + index
        let kept = Int(reader.pointee.kept.count)
        if let bytes = reader.pointee.kept.bytes { memcpy(buffer, bytes, kept) }
        let count = recv(reader.pointee.descriptor, buffer + kept, Self.bufferBytes - kept, 0)
        if count <= 0 {
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            ended(index, error: count < 0 ? errno : 0)
            return
        }
        progressAt = nanoseconds()
        let total = kept + count
        let used = digest(index, buffer, total)
        guard reader.pointee.isLive else { return }
        if total - used >= Self.bufferBytes {
            drop(index, "a frame of more than \(Self.bufferBytes) bytes")
        } else if kept > 0 || used < total {
            reader.pointee.kept.keep(buffer + used, total - used)
        }
    }

    private func digest(_ index: Int, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
        var used = 0
        if readers[index].phase == .head {
            guard let length = takeHead(index, bytes, count) else { return 0 }
            used = length
        }
        guard readers[index].isLive else { return used }
        switch readers[index].transport {
        case .unix, .tcp, .ndjson: return used + takeLines(index, bytes + used, count - used)
        case .sse: return used + takeRecords(index, bytes + used, count - used)
        case .ws: return used + takeFrames(index, bytes + used, count - used)
        }
    }

    private func ended(_ index: Int, error: Int32) {
        let reader = readers[index]
        let saidBye = reader.byeSeen && (reader.transport != .ws || reader.closeSeen)
        if error == 0, reader.kept.count == 0, saidBye, stage == .stopping || options.allowGaps {
            retire(index, .ended)
        } else {
            let cause = error == 0 ? "the stream ended" : "the connection failed: \(errorText(error))"
            let partial = reader.kept.count > 0 ? " inside a frame" : ""
            drop(index, "\(cause)\(partial)\(reader.byeSeen ? " after $bye" : " without $bye"); \(standing(index))")
        }
    }
}
