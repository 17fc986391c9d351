/// A reader of a server with a database: it comes back where it was, whatever ended its connection.

import Reactor

/// One subscriber, over all its connections.
final class StoredReader: StoredClient {
    enum Transport: CaseIterable { case unix, lines, sse, webSocket }

    private let transport: Transport
    private let wanted: Wanted
    private var place: StoredPlace
    private var responses: ResponseReader?
    private var reader: StreamReader?
    private var stream: StoredStream?
    /// A raw stream begins with everything from now on, until what is asked for begins.
    private var mayChange = false
    private let leaveRate: Double
    /// When it comes back, after a server without room or a rest of its own.
    private var restsUntil: UInt64 = 0
    private var hasSentClose = false

    init(_ world: StoredWorld, number: Int) {
        var random = world.random.fork()
        transport = random.pick(Transport.allCases)
        var wanted = Wanted()
        if random.chance(0.6) {
            for _ in 0..<1 + random.below(random.chance(0.7) ? 1 : 4) {
                wanted.patterns.append(random.pick(Channels.patterns))
            }
        }
        if random.chance(0.2) {
            for kind in EventMaker.kinds where random.chance(0.5) { wanted.kinds.append(kind) }
        }
        self.wanted = wanted
        place = random.chance(0.5) ? .now : .start
        leaveRate = random.chance(0.5) ? 0 : 0.02
        super.init(world, "reader \(number) (\(transport))")
    }

    override func address() -> SocketAddress? {
        guard kernel.now >= restsUntil else { return nil }
        switch transport {
        case .unix: return World.unix("events.socket")
        default: return random.chance(0.5) ? World.http : World.unix("http.socket")
        }
    }

    override func connected() {
        let asked = wanted(at: place)
        stream = nil
        responses = nil
        hasSentClose = false
        if transport == .unix {
            reader = StreamReader(.jsonl)
            unsent = Array(asked.line(epoch: epochAsked, &random) + "\n")
            mayChange = true
            stream = StoredStream(world, life: life, .everything, isSSE: false, from: .now)
        } else {
            reader = nil
            responses = ResponseReader()
            unsent = request(asked)
        }
    }

    /// What it says, with the place where it is.
    private func wanted(at place: StoredPlace) -> Wanted {
        var wanted = wanted
        wanted.start =
            switch place {
            case .now: .now
            case .start: .start
            case .cursor(_, let seq): .after(seq)
            }
        return wanted
    }

    private var epochAsked: String {
        if case .cursor(let epoch, _) = place { epoch } else { "" }
    }

    private func request(_ asked: Wanted) -> [UInt8] {
        let isInHeader = asked.resumes && asked.start != .start && random.chance(0.5)
        var head = "GET /v1/events\(asked.query(epoch: epochAsked, &random, saysPlace: !isInHeader)) HTTP/1.1\r\n"
        if isInHeader { head += "Last-Event-ID: \(place)\r\n" }
        head += "Host: 127.0.0.1:7575\r\n"
        switch transport {
        case .sse: head += "Accept: text/event-stream\r\n"
        case .webSocket:
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        default: head += "Accept: application/x-ndjson\r\n"
        }
        return Array(head + "\r\n")
    }

    override func perform() {
        if !isSettled, random.chance(leaveRate) { attempt { try leave() } }
    }

    // MARK: Reading

    override func take(_ bytes: [UInt8]) throws {
        var bytes = bytes
        if responses != nil, reader == nil {
            responses?.append(bytes)
            guard let response = try responses?.next() else { return }
            try answered(response)
            bytes = responses?.takeRest() ?? []
        }
        reader?.append(bytes)
        while let told = try reader?.next() { try heard(told) }
    }

    private func answered(_ response: Response) throws {
        switch (response.status, transport) {
        case (200, .lines): reader = StreamReader(.jsonl)
        case (200, .sse): reader = StreamReader(.sse)
        case (101, .webSocket): reader = StreamReader(.webSocket)
        case (503, _) where world.isStopping(life) || world.hasBroken(life): return
        case (408, _): return
        case (503, _) where world.plan.isTight: return
        default: throw Malformed("status \(response.status): \(response.body.excerpt)")
        }
        stream = StoredStream(world, life: life, wanted, isSSE: transport == .sse, from: place)
    }

    private func heard(_ told: Told) throws {
        if case .close = told {
            if !hasSentClose { unsent += clientFrame(8, [3, 0xE8]) }
            hasSentClose = true
        }
        if case .ping(let payload) = told { unsent += clientFrame(10, payload) }
        if case .record(let json, _, _) = told, mayChange, stream?.hasBegun == true,
            json.names.first.flatMap({ json[$0]?.text }) == "$hello"
        {
            mayChange = false
            stream = StoredStream(world, life: life, wanted, isSSE: false, from: place)
        }
        try stream?.heard(told)
        world.sightings.told += 1
        // What a raw stream says before it is what was asked for is not where its reader stands.
        if !mayChange, let stream, stream.hasBegun { place = stream.place }
    }

    override func disconnected(isReset: Bool) throws {
        if !isReset, let reader, !reader.isAtBoundary, !world.mayCut(life), transport != .unix {
            throw Malformed("ended in the middle of a record")
        }
        world.sightings.comebacks += 1
        restsUntil = kernel.now + UInt64(random.chance(0.5) ? 0 : random.magnitude(1...2000))
        stream = nil
        reader = nil
    }

    override func settle() {
        super.settle()
        restsUntil = 0
    }

    override var isWaiting: Bool {
        guard peer != nil, let stream, stream.hasBegun, !mayChange else { return true }
        return !owing.isEmpty
    }

    /// What is there for it and has not come.
    private var owing: [UInt64] {
        stream?.missing(upTo: .max).filter { !world.ledger.isPruned($0) } ?? []
    }

    /// The world has settled: it must be there, and have everything.
    func checkComplete() throws {
        guard peer != nil, let stream, stream.hasBegun, !mayChange else { throw Malformed("was never answered") }
        let owing = owing
        guard owing.isEmpty else {
            throw Malformed("\(owing.count) events behind \(stream.seq) never came: \(owing.prefix(3))")
        }
    }
}
