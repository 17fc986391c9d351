/// A subscriber of the simulation, over any transport.

import Reactor

/// One subscriber: asks, reads, checks everything it reads, and now and then misbehaves.
final class Reader: Client {
    enum Transport: CaseIterable { case unix, tcp, lines, sse, webSocket }

    let transport: Transport
    /// What it asks for, and what it asks for instead later on.
    private(set) var wanted: [Wanted]
    private(set) var record: StreamRecord
    private var responses: ResponseReader?
    private var stream: StreamReader?
    private var begin: (low: UInt64, high: UInt64)
    private var laterLine: [UInt8]?
    private let answersPings: Bool
    private let mayMisbehave: Bool
    private var pingsUnanswered: [[UInt8]] = []
    private var hasSentClose = false
    private var owesPong = false
    private var closeCode: UInt16??
    private var hasBegun: Bool { stream != nil }
    /// Whether it was answered with something other than a stream.
    private(set) var wasRefused = false
    private var isSettled = false
    private let wasAlwaysEager: Bool
    private let isAuditor: Bool

    init(_ world: World, _ peer: SimulatedPeer, _ transport: Transport, _ wanted: [Wanted], number: Int, pace: Pace) {
        self.transport = transport
        self.wanted = wanted
        record = StreamRecord(epoch: world.truth.epoch, isSSE: transport == .sse)
        begin = (world.head, world.head)
        var random = world.random.fork()
        answersPings = random.chance(0.9)
        mayMisbehave = random.chance(0.15) && pace != .eager
        wasAlwaysEager = pace == .eager
        isAuditor = number == 0
        super.init(world, peer, "reader \(number) (\(transport), \(pace))", pace: pace)
        if transport == .unix || transport == .tcp {
            // The first subscription is what a reader gets that says nothing: here the second one is said.
            stream = StreamReader(.jsonl)
            if wanted.count > 1 { later(wanted[1]) }
        } else {
            responses = ResponseReader()
            unsent = request(wanted[0])
            if wanted.count > 1 { later(wanted[1]) }
        }
    }

    // MARK: Asking

    private func request(_ wanted: Wanted) -> [UInt8] {
        var head = "GET /v1/events\(wanted.query(epoch: world.truth.epoch, &random)) HTTP/1.1\r\n"
        head += "Host: 127.0.0.1:7575\r\n"
        switch transport {
        case .sse: head += "Accept: text/event-stream\r\n"
        case .webSocket:
            head += "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        default:
            if random.chance(0.5) { head += "Accept: application/x-ndjson\r\n" }
        }
        return Array(head + "\r\n")
    }

    private func later(_ wanted: Wanted) {
        var line = wanted.line(epoch: world.truth.epoch, &random)
        if mayMisbehave, random.chance(0.3) {
            // Refused with 1008: the first subscription is all there will be.
            hasMisbehaved = true
            self.wanted.removeLast()
            line = random.pick([#"{"$subscribe":{"control":"maybe"}}"#, #"{"$subscribe":{"channel":["a//b"]}}"#])
        }
        func said(_ line: String) -> [UInt8] {
            transport == .webSocket ? clientFrame(1, Array(line)) : Array(line + "\n")
        }
        laterLine = said(line)
        guard !hasMisbehaved, random.chance(0.15) else { return }
        // Only the first one counts.
        laterLine? += said(Wanted.drawn(&random, head: world.head).line(epoch: world.truth.epoch, &random))
    }

    override func perform() {
        if let line = laterLine, hasBegun, unsent.isEmpty, random.chance(0.2) {
            unsent += line
            laterLine = nil
            world.sightings.resubscribes += 1
        }
        guard hasBegun, unsent.isEmpty, laterLine == nil, !isSettled else { return }
        if transport == .webSocket, !hasSentClose { performFrames() }
        guard mayMisbehave, random.chance(0.02) else { return }
        hasMisbehaved = true
        switch random.below(5) {
        case 0: leave(reset: true)
        case 1: leave(reset: false)
        case 2: finish()
        default: write(garbage: random.magnitude(1...2000))
        }
    }

    private func write(garbage count: Int) {
        unsent += (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    private func performFrames() {
        switch random.below(60) {
        case 0:
            let payload = Array("ping \(random.below(1000))")
            pingsUnanswered.append(payload)
            unsent += clientFrame(9, payload)
        case 1: unsent += clientFrame(10, [])
        case 2:
            // Text after the first message is ignored, in however many pieces it comes.
            guard wanted.count > 1 else { return }
            unsent += clientFrame(1, Array("not to "), isLast: false) + clientFrame(9, [])
            pingsUnanswered.append([])
            unsent += clientFrame(0, Array("be heeded"))
        case 3 where mayMisbehave:
            hasMisbehaved = true
            unsent += random.pick([
                clientFrame(2, [1, 2, 3]), [0x81, 0x01, 0x41], clientFrame(1, [0xFF, 0xFE]), clientFrame(0, [0x41]),
            ])
        case 4 where mayMisbehave: sendClose(1000)
        default: break
        }
    }

    private func sendClose(_ code: UInt16) {
        guard !hasSentClose else { return }
        hasSentClose = true
        unsent += clientFrame(8, [UInt8(code >> 8), UInt8(code & 0xFF)])
    }

    override var isAwaitingAnswer: Bool {
        !wasRefused && (!hasBegun || (wanted[0].hasControl && record.entries.isEmpty))
    }

    override func settle() {
        isSettled = true
        pace = .eager
        if !hasBegun { laterLine = nil }
    }

    // MARK: Reading

    override func take(_ bytes: [UInt8]) throws {
        var bytes = bytes
        if responses != nil, stream == nil {
            responses?.append(bytes)
            guard let response = try responses?.next() else { return }
            try answered(response)
            bytes = responses?.takeRest() ?? []
            if stream == nil, !bytes.isEmpty { throw Malformed("\(bytes.count) bytes after the answer") }
        }
        stream?.append(bytes)
        while let told = try stream?.next() { try heard(told) }
        if pace == .crawling || pace == .stalled, record.eventCount > 40 { pace = .slow }
    }

    private func answered(_ response: Response) throws {
        begin.high = world.head
        switch (response.status, transport) {
        case (200, .lines):
            guard response["content-type"] == "application/x-ndjson" else { throw Malformed("\(response.fields)") }
            stream = StreamReader(.jsonl)
        case (200, .sse):
            guard response["content-type"] == "text/event-stream" else { throw Malformed("\(response.fields)") }
            stream = StreamReader(.sse)
        case (101, .webSocket):
            guard response["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" else {
                throw Malformed("\(response.fields)")
            }
            stream = StreamReader(.webSocket)
        case (204, .sse) where wanted[0].isMortal: wasRefused = true
        case (410, _) where wanted[0].failsOnGap, (408, _): wasRefused = true
        case (503, _) where world.plan.isTight, (429, _) where world.plan.isTight: wasRefused = true
        default: throw Malformed("status \(response.status): \(response.body.excerpt)")
        }
    }

    private func heard(_ told: Told) throws {
        guard closeCode == nil else { throw Malformed("\(told) after a close frame") }
        switch told {
        case .event(let seq, let channel, let payload, let id):
            try world.truth.observe(seq: seq, channel: channel, payload: payload)
            try record.noteEvent(seq, id: id)
            world.sightings.noteEvent(transport, bytes: payload.count)
        case .unstamped(let payload, let id): try heardUnstamped(payload, id)
        case .record(let json, let id, let retry):
            // Who finds no place is told so before the query is read.
            let isTurnedAway = world.plan.isTight && json["code"]?.integer == 1013
            guard wanted.contains(where: { $0.hasControl }) || isTurnedAway else {
                throw Malformed("a record although control=off: \(json)")
            }
            try record.noteRecord(json, id: id, retry: retry, discriminators: wanted.map(\.discriminator) + ["type"]) {
                $0 == 1013 && world.plan.isTight
            }
            if record.byeCode != nil { world.sightings.byes[record.byeCode!, default: 0] += 1 }
        case .comment: world.sightings.keepAlives += 1
        case .ping(let payload):
            world.sightings.keepAlives += 1
            owesPong = !answersPings && !isSettled
            if !owesPong, !hasSentClose { unsent += clientFrame(10, payload) }
        case .pong(let payload):
            guard pingsUnanswered.first == payload else { throw Malformed("pong \(payload)") }
            pingsUnanswered.removeFirst()
        case .close(let code, _):
            closeCode = .some(code)
            let isOwn = hasSentClose || hasMisbehaved
            sendClose(code ?? 1000)
            guard isOwn || record.byeCode == nil || record.byeCode == code.map(UInt64.init) else {
                throw Malformed("close \(code ?? 0) after $bye \(record.byeCode!)")
            }
        }
    }

    /// An event that says no number: the `id` of SSE does, and to the auditor, which gets all, it is the next one.
    private func heardUnstamped(_ payload: [UInt8], _ id: String?) throws {
        let index = try world.truth.unstamped(payload)
        world.sightings.bareEvents += 1
        if let place = id.flatMap(Place.init) {
            try world.truth.learn(index, is: place.seq)
        } else if isAuditor {
            try world.truth.learn(index, is: record.place + 1)
        }
        let seq = world.truth.offered[index].seq
        if seq == 0 { try record.noteUnstamped(index) } else { try record.noteEvent(seq, id: id) }
    }

    override func ended(_ end: End) throws {
        if end != .clean {
            let mayBeTurnedAway = world.plan.connectionsMax != nil
            if world.plan.isCalm, wasAlwaysEager, !hasMisbehaved, !world.isShuttingDown, !mayBeTurnedAway {
                throw Malformed("was reset although it kept up")
            }
            return
        }
        if mayBeBrokenOff(isSilent: record.entries.isEmpty && responses?.isAtBoundary != false) { return }
        guard let stream else {
            guard wasRefused || hasFinished || world.isShuttingDown || responses?.isAtBoundary == true else {
                throw Malformed("ended in the middle of a response head")
            }
            return
        }
        if hasMisbehaved || hasFinished { return }
        guard stream.isAtBoundary else { throw Malformed("ended in the middle of a record") }
        if transport == .webSocket {
            guard closeCode != nil else { throw Malformed("ended without a close frame") }
        } else if wanted.allSatisfy({ $0.hasControl }) {
            guard record.byeCode != nil else { throw Malformed("ended without a $bye") }
        }
    }

    // MARK: Judging

    /// The server has stopped: a reader that was there must have been told.
    func checkGoodbye() {
        if wanted.allSatisfy({ $0.hasControl }), record.byeCode != 1001, record.byeCode != 4408 {
            world.fail("\(name): was not told of the end: \(String(describing: end)), \(record)")
        }
        if transport == .webSocket, closeCode == nil { world.fail("\(name): no close frame") }
    }

    override func judge(_ truth: Truth) throws {
        guard hasBegun, !record.entries.isEmpty || isExpectedComplete else { return }
        var subscriptions = wanted
        if laterLine != nil, record.helloCount < 2 { subscriptions = [wanted[0]] }
        let verdict = StreamVerdict(
            truth: truth, wanted: subscriptions, onLag: world.plan.onLag.rawValue,
            mayLag: !(world.plan.isCalm && wasAlwaysEager), isComplete: isExpectedComplete, begin: begin)
        do { try verdict.check(record.resolved(truth)) } catch {
            throw Malformed("\(error); \(subscriptions) got \(record.entries.suffix(40))")
        }
    }

    /// Whether it was there, able to read and unharmed when the world came to its end.
    private(set) var isExpectedComplete = false

    /// Whether there is no reason why its stream should end.
    var isWell: Bool {
        hasBegun && !wasRefused && !hasMisbehaved && !hasFinished && !hasSentClose && !owesPong
            && record.byeCode == nil
    }

    /// Called when the world has settled and everything published has had time to arrive.
    func noteComplete() {
        guard !isGone, !wasRefused, !hasMisbehaved, !hasFinished, !hasSentClose, record.byeCode == nil else { return }
        if !hasBegun || (wanted[0].hasControl && record.helloCount == 0) { world.fail("\(name): never had an answer") }
        isExpectedComplete = hasBegun
    }
}
