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
    /// That answer, and the oldest event that the server held then.
    private var refusal: (status: Int, oldest: UInt64)?
    private var isSettled = false
    private let wasAlwaysEager: Bool
    private let isAuditor: Bool
    /// Whether it leaves when it likes, to come back where it was.
    private let comesAndGoes: Bool
    /// Whether somebody has come back for it.
    var hasComeBack = false

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
        comesAndGoes = !isAuditor && random.chance(0.3)
        record.mayLackPlace = wanted.contains { $0.start == .garbage }
        if wanted.count > 1, !wanted[1].hasControl, wanted[1].resumes { record.restartsUnseen = 1 }
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
        // A browser says where it was in a header, which wins over what the query says.
        let inHeader = wanted.start == .garbage || (wanted.resumes && wanted.start != .start && random.chance(0.4))
        let query = wanted.query(epoch: world.truth.epoch, &random, saysPlace: !inHeader)
        var head = "GET /v1/events\(query) HTTP/1.1\r\n"
        if inHeader {
            let place = wanted.place(epoch: world.truth.epoch) ?? random.pick(["garbage", "7", "00000000000000aa-"])
            head += "Last-Event-ID: \(place)\r\n"
        }
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
        // What is asked for while the server stops need not be answered whole.
        if let line = laterLine, hasBegun, !isExpectedComplete, unsent.isEmpty, random.chance(0.2) {
            unsent += line
            laterLine = nil
            world.sightings.resubscribes += 1
        }
        guard hasBegun, unsent.isEmpty, laterLine == nil, !isSettled else { return }
        if transport == .webSocket, !hasSentClose { performFrames() }
        if comesAndGoes, random.chance(0.02) { return leave(reset: random.chance(0.5)) }
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
        case (204, .sse) where wanted[0].isMortal, (410, _) where wanted[0].failsOnGap:
            wasRefused = true
            refusal = (response.status, world.held.oldest)
        case (408, _): wasRefused = true
        case (503, _) where world.plan.isTight, (429, _) where world.plan.isTight: wasRefused = true
        default: throw Malformed("status \(response.status): \(response.body.excerpt)")
        }
    }

    private func heard(_ told: Told) throws {
        guard closeCode == nil else { throw Malformed("\(told) after a close frame") }
        record.oldestHeld = world.held.oldest
        switch told {
        case .event(let seq, let channel, let time, let payload, let id):
            try world.truth.observe(seq: seq, channel: channel, time: time, payload: payload)
            try record.noteEvent(seq, id: id)
            world.sightings.noteEvent(transport, bytes: payload.count)
        case .unstamped(let payload, let id): try heardUnstamped(payload, id)
        case .record(let json, let id, let retry):
            // Who finds no place is told so before the query is read.
            let isTurnedAway = world.plan.isTight && json["code"]?.integer == 1013
            guard wanted.contains(where: { $0.hasControl }) || isTurnedAway else {
                throw Malformed("a record although control=off: \(json)")
            }
            let before = record.entries.count
            try record.noteRecord(json, id: id, retry: retry, discriminators: wanted.map(\.discriminator) + ["type"]) {
                $0 == 1013 && world.plan.isTight
            }
            if record.byeCode != nil { world.sightings.byes[record.byeCode!, default: 0] += 1 }
            if record.entries.count > before { world.sightings.note(record.entries.suffix(2)) }
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
        if let refusal { try judge(refusal, truth) }
        guard hasBegun, !record.entries.isEmpty || isExpectedComplete else { return }
        var subscriptions = wanted
        if laterLine != nil, record.helloCount < 2 { subscriptions = [wanted[0]] }
        let verdict = StreamVerdict(
            truth: truth, wanted: subscriptions, onLag: world.plan.onLag.rawValue,
            mayLag: !(world.plan.isCalm && wasAlwaysEager), mayLackMemory: world.plan.memoryMax != nil,
            isComplete: isExpectedComplete, begin: begin,
            held: world.held, oldest: record.oldest)
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

// MARK: Coming back

extension Reader {
    /// What somebody asks for who goes on where this one has stopped; nil where nobody can know where that is.
    var comeback: Wanted? {
        guard isGone, hasBegun, !hasComeBack, !wasRefused else { return nil }
        var next = wanted[0]
        if wanted.count > 1 {
            // Of a change to silence nobody knows when it was.
            guard wanted[1].hasControl else { return nil }
            if record.helloCount > 1 { next = wanted[1] }
        }
        guard let start = record.comeback(next.start) else { return nil }
        next.start = start
        return next
    }

    /// An answer without a stream was right: there was nothing more to come, or something was really gone.
    private func judge(_ refusal: (status: Int, oldest: UInt64), _ truth: Truth) throws {
        let onChannels = truth.counts(wanted[0].ofAnyKind)
        func isAny(after: UInt64, upTo: UInt64) -> Bool {
            upTo > after && onChannels[Int(upTo)] > onChannels[Int(after)]
        }
        let after: UInt64
        switch wanted[0].start {
        case .now:
            if refusal.status == 410 { throw Malformed("410 to a reader of what is to come") }
            return
        case .ahead, .unknownEpoch, .garbage:
            if refusal.status == 204 { throw Malformed("204 to a reader that must be told of a $gap") }
            return
        case .start: after = 0
        case .after(let seq): after = seq
        }
        if refusal.status == 410, !isAny(after: after, upTo: refusal.oldest - 1) {
            throw Malformed("410 after \(after), but everything after that is held: \(refusal.oldest)")
        }
        if refusal.status == 204, isAny(after: after, upTo: begin.low) {
            throw Malformed("204 after \(after), but the channel had more: \(begin)")
        }
    }
}
