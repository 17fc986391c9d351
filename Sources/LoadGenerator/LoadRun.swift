/// The run: connects the readers, lets events be published, and counts what arrives.

import CLinux
import ClientSockets
import Glibc
import Wire

/// One run over one epoll instance, driven by one thread: every reader is a row of a table. Its extensions are a file
/// per concern.
package final class LoadRun {
    /// Where a run is.
    enum Stage {
        case filling, leading, connecting, catchingUp, holding, joining, running, settling, leaving, over
    }

    static let bufferBytes = 2 * frameBytesMax
    static let connectsPerTurn = 32
    /// Numbers of a publisher that a reader has not seen any of.
    static let unknownNumber = UInt32.max

    let plan: LoadPlan
    let event: BenchEvent
    let book: FrameBook
    let latency = LatencyHistogram()
    let channels: Int
    let publisherCount: Int
    let firstMeasured: Int
    /// Whether this run publishes; otherwise payloads are not known.
    let isPublishing: Bool
    let isPaced: Bool
    /// Each route's dialect: a route is not copied for every delivery.
    let dialects: UnsafeMutablePointer<Dialect>
    let readerCount: Int
    let readers: UnsafeMutablePointer<Reader>
    /// For each reader and publisher: the number that must come next.
    let expected: UnsafeMutablePointer<UInt32>
    /// For each route: what each channel's reader says first.
    var openings: [[[UInt8]]] = []
    var chunks: UnsafeMutablePointer<ChunkedDecoder>?
    var unwrappers: UnsafeMutablePointer<WebSocketUnwrapper>?
    let epoll: Int32
    private var hasFineWait = true
    let buffer: UnsafeMutablePointer<UInt8>
    var reply: [UInt8] = []

    var stage = Stage.connecting
    var publishers: [Publisher] = []
    // What changes with every delivery is not checked for overlapping access: these are plain numbers that no method
    // holds inout across a call, and the check is dearer than the change.
    @exclusivity(unchecked) var receivedAt: UInt64 = 0
    @exclusivity(unchecked) var progressAt: UInt64 = 0
    @exclusivity(unchecked) var deliveries = 0
    @exclusivity(unchecked) var deliveredBytes = 0
    @exclusivity(unchecked) var outstanding = 0
    var sampledAt: UInt64 = 0
    var deadline: UInt64 = 0

    // Connecting.
    var nextToConnect = 0
    var connectionSerial = 0
    var readersSettling = 0
    var readersStanding = 0
    var readersLive = 0
    var streamsBegun = 0
    /// Why not even the first reader could connect.
    var refusal: LoadFailure?

    // Publishing: `published` events are out, of which readers that are waited for still miss `outstanding`.
    var published = 0
    var publishedTotal: Int
    var awaitedByChannel: [Int]
    var publishedBy: [UInt32]
    /// When the present burst of the closed loop was published.
    var burstTime: UInt64 = 0

    // Counting.
    var faults = 0
    var gaps = 0
    var ends = 0
    var measures = Measures()

    /// Makes the tables. Throws for a plan that cannot be carried out, on this machine or at all.
    package init(_ plan: LoadPlan) throws(LoadFailure) {
        try plan.check()
        self.plan = plan
        channels = plan.channelCount
        isPublishing = plan.publishing != nil
        isPaced = plan.rate > 0
        dialects = .allocate(capacity: max(plan.readers.count, 1))
        for (index, reader) in plan.readers.enumerated() { dialects[index] = reader.route.dialect }
        publisherCount = plan.publishing == nil ? 1 : plan.publishers
        firstMeasured = plan.publishing == nil ? 0 : plan.firstMeasured
        publishedTotal =
            plan.publishing == nil ? 0 : plan.durationSeconds == nil ? plan.warmTotal + plan.events : Int.max
        readerCount = plan.readerCount
        event = BenchEvent(bytes: plan.bytes, publishers: publisherCount)
        book = FrameBook(
            routes: plan.readers.count, publishers: publisherCount, burst: max(plan.burst, plan.behindTotal),
            eventBytes: plan.bytes)
        awaitedByChannel = [Int](repeating: 0, count: channels)
        publishedBy = [UInt32](repeating: 0, count: publisherCount)
        let descriptorsMax = raiseDescriptorLimit()
        guard readerCount <= descriptorsMax - 32 else {
            throw LoadFailure(
                .usage,
                "\(readerCount) readers need more than the \(descriptorsMax) files this process may open "
                    + "(ulimit -n); run several")
        }
        epoll = linux_epoll_create()
        guard epoll >= 0 else { throw LoadFailure(.system, "epoll_create1: \(errorText(-epoll))") }
        readers = .allocate(capacity: max(readerCount, 1))
        readers.initialize(repeating: Reader(), count: max(readerCount, 1))
        expected = .allocate(capacity: max(readerCount, 1) * publisherCount)
        buffer = .allocate(capacity: Self.bufferBytes)
        layOutReaders()
        prepareOpenings()
        measures.start = ProcessUsage(of: plan.serverPIDs)
        for pid in plan.serverPIDs where ProcessUsage(of: pid).residentBytes == 0 {
            throw LoadFailure(.usage, "there is no process \(pid) to measure")
        }
    }

    deinit {
        for index in 0..<readerCount {
            readers[index].kept.release()
            if readers[index].descriptor >= 0 { close(readers[index].descriptor) }
        }
        readers.deallocate()
        dialects.deallocate()
        expected.deallocate()
        chunks?.deallocate()
        unwrappers?.deallocate()
        buffer.deallocate()
        close(epoll)
    }

    // MARK: The loop

    /// Runs to the end; what was found. `isInterrupted` is asked about every turn: once true the run ends early.
    package func run(isInterrupted: () -> Bool) throws(LoadFailure) -> LoadResult {
        progressAt = nanoseconds()
        measures.connectingSince = progressAt
        if plan.behind > 0 { try beginFilling() }
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: 1024)
        defer { events.deallocate() }
        while stage != .over {
            let now = nanoseconds()
            try advance(now)
            if isInterrupted() {
                measures.isInterrupted = true
                if stage == .running { endRunning(now) }
                break
            }
            let count = try wait(events, now)
            for place in 0..<count {
                let token = linux_epoll_data(events, Int32(place))
                let what = linux_epoll_events(events, Int32(place))
                if token < Publisher.tokenFirst {
                    ready(Int(token), what)
                } else {
                    try publishers[Int(token - Publisher.tokenFirst)].ready(self, what)
                }
            }
        }
        return result()
    }

    /// Waits for sockets, to the nanosecond where the kernel can (Linux 5.11), else to the millisecond.
    private func wait(_ events: UnsafeMutablePointer<epoll_event>, _ now: UInt64) throws(LoadFailure) -> Int {
        let until = wakeAt(now)
        // Nothing is timed while readers are idle. A reader that slept would be woken by each keep-alive, and waking it
        // is charged to the server that sends.
        if stage == .holding { usleep(20_000) }
        let wait = until > now ? until - now : 0
        var code: Int32 = ENOSYS
        if hasFineWait {
            var time = timespec(tv_sec: Int(wait / 1_000_000_000), tv_nsec: Int(wait % 1_000_000_000))
            let count = epoll_pwait2(epoll, events, 1024, &time, nil)
            if count >= 0 { return Int(count) }
            code = errno
            hasFineWait = code != ENOSYS
        }
        if !hasFineWait {
            let count = linux_epoll_wait(epoll, events, 1024, Int32(clamping: (wait + 999_999) / 1_000_000))
            if count >= 0 { return Int(count) }
            code = -count
        }
        guard code == EINTR else { throw LoadFailure(.system, "epoll_wait: \(errorText(code))") }
        return 0
    }

    /// When there is something to do that no socket says.
    private func wakeAt(_ now: UInt64) -> UInt64 {
        var until = now + 100_000_000
        switch stage {
        case .connecting where nextToConnect < readerCount && readersSettling < settlingMax: until = now + 1_000_000
        case .running where plan.rate > 0 && published < publishedTotal: until = min(until, dueTime(of: published))
        case .leading, .holding, .settling, .leaving: until = min(until, max(deadline, now + 1_000_000))
        default: break
        }
        return until
    }

    private func advance(_ now: UInt64) throws(LoadFailure) {
        try sample(now)
        if let refusal { throw refusal }
        switch stage {
        case .filling: try fill(now)
        case .leading:
            if now >= deadline { endLeading() }
            return
        case .connecting:
            try connectSome()
            sampleComingBack()
            if readersStanding == readerCount { try endConnecting(now) }
        case .catchingUp:
            if isCaughtUp() { try beginHolding(now) }
        case .holding:
            if now >= deadline { try endHolding(now) }
            return
        case .joining:
            if publishers.allSatisfy(\.isStanding) { beginRunning(now) }
        case .running:
            try publishNext(now)
            if isComplete(now) { endRunning(now) }
            // Others publish, or not: nothing is due.
            if plan.publishing == nil, plan.durationSeconds != nil { return }
        case .settling:
            if now >= deadline { beginLeaving(now) }
            return
        case .leaving:
            if readersLive == 0 || now >= deadline { stage = .over }
            return
        case .over: return
        }
        if now > progressAt &+ UInt64(plan.patienceSeconds) * 1_000_000_000 { try giveUp(now) }
    }

    // MARK: Stages

    private func endConnecting(_ now: UInt64) throws(LoadFailure) {
        measures.connected = ProcessUsage(of: plan.serverPIDs)
        measures.connectSeconds = Double(now - measures.connectingSince) / 1e9
        if plan.isStorm { return beginLeaving(now) }
        if plan.behind > 0 { return stage = .catchingUp }
        try beginHolding(now)
    }

    private func beginHolding(_ now: UInt64) throws(LoadFailure) {
        stage = .holding
        deadline = now + UInt64(plan.holdSeconds) * 1_000_000_000
        measures.holdingSince = now
        if plan.holdSeconds == 0 { try endHolding(now) }
    }

    private func endHolding(_ now: UInt64) throws(LoadFailure) {
        if plan.holdSeconds > 0 {
            let usage = ProcessUsage(of: plan.serverPIDs)
            let cpu = Double(usage.cpuNanoseconds(since: measures.connected))
            measures.idleCPUPercent = 100 * cpu / Double(max(1, now - measures.holdingSince))
            measures.idleResidentBytes = usage.residentBytes
        }
        progressAt = now
        stage = .joining
        if plan.publishing == nil {
            beginRunning(now)
        } else {
            for number in 0..<publisherCount { publishers.append(try Publisher(number, self)) }
        }
    }

    private func beginRunning(_ now: UInt64) {
        stage = .running
        progressAt = now
        if plan.publishing == nil, plan.durationSeconds == nil {
            // What came while others still connected was more than was asked for.
            for index in 0..<readerCount { readers[index].received = 0 }
            outstanding = plan.events * awaitedByChannel.reduce(0, +)
        }
        if firstMeasured == 0 { startMeasuring() }
    }

    /// Reads the meters just before the first measured event.
    func startMeasuring() {
        beginSlowness()
        measures.deliveriesBefore = deliveries
        measures.bytesBefore = deliveredBytes
        measures.clientBefore = ProcessUsage(of: getpid())
        measures.before = ProcessUsage(of: plan.serverPIDs)
        measures.since = nanoseconds()
        measures.isMeasuring = true
        if let seconds = plan.durationSeconds { deadline = measures.since + UInt64(seconds) * 1_000_000_000 }
    }

    /// Whether all that was asked for is done and received.
    private func isComplete(_ now: UInt64) -> Bool {
        guard measures.isMeasuring else { return publishedTotal == 0 && plan.durationSeconds == nil }
        if plan.durationSeconds != nil {
            guard now >= deadline else { return false }
            publishedTotal = published
        }
        if plan.publishing == nil { return readersLive == 0 || plan.durationSeconds != nil || outstanding <= 0 }
        guard published == publishedTotal, outstanding == 0 else { return false }
        return readerCount > 0 || publishers.allSatisfy { $0.hasAllTaken(self) }
    }

    private func endRunning(_ now: UInt64) {
        measures.after = ProcessUsage(of: plan.serverPIDs)
        measures.clientAfter = ProcessUsage(of: getpid())
        measures.until = readerCount > 0 && receivedAt > measures.since ? receivedAt : now
        measures.deliveriesAfter = deliveries
        measures.bytesAfter = deliveredBytes
        measures.publishedMeasured = plan.publishing == nil ? 0 : max(0, published - plan.warmTotal)
        stage = .settling
        deadline = now + 100_000_000
        endSlowness(now)
    }

    private func beginLeaving(_ now: UInt64) {
        stage = .leaving
        deadline = now + 2_000_000_000
        // Waiting for the server's end leaves it nothing to do for us when the next measure begins.
        for index in 0..<readerCount where readers[index].isLive {
            _ = linux_shutdown(readers[index].descriptor, Int32(SHUT_WR))
        }
        for publisher in publishers { publisher.leave() }
    }

    /// Nothing has come for too long: the readers that still wait for something have failed; the others go on.
    private func giveUp(_ now: UInt64) throws(LoadFailure) {
        progressAt = now
        let silence = "nothing for \(plan.patienceSeconds) s"
        let liveBefore = readersLive
        if stage == .running || stage == .catchingUp, outstanding > 0 {
            for index in 0..<readerCount where readers[index].isCounted && pending(index) > 0 {
                drop(index, "\(silence): \(pending(index)) events are missing after \(readers[index].received)")
            }
        }
        if stage == .connecting, readersStanding > 0 {
            for index in 0..<readerCount where readers[index].isLive && readers[index].phase != .streaming {
                drop(index, "\(silence), and the stream has not begun")
            }
        }
        if readersLive < liveBefore { return }
        let wantsHello = plan.readers.contains { $0.route.hellos > 0 && $0.route.dialect == .jsonl }
        let advice = wantsHello && stage == .connecting ? "; one that does not begin with $hello needs --no-hello" : ""
        throw LoadFailure(.unavailable, "the server has been silent for \(plan.patienceSeconds) s" + advice)
    }
}
