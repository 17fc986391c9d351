/// A reader that keeps the state: by snapshots, by deltas, by what is left of them when it falls behind.

import Reactor

/// One reader over all its connections, and the model that it keeps of its channels' state.
final class LastingReader {
    enum Transport: CaseIterable { case lines, sse, webSocket, unix }

    /// Where its stream is.
    private enum Phase {
        /// Nothing but `$hello` can come.
        case beginning
        /// A state may come, or events.
        case open
        /// Between `$snapshot` and `$live`.
        case state(to: UInt64, count: UInt64, rows: UInt64, last: UInt64)
        /// Behind a `$gap` that only the newest event of each key is sent of.
        case changes(from: UInt64, to: UInt64, dropped: UInt64?, rows: UInt64, last: UInt64)
    }

    unowned let world: LastingWorld
    let name: String
    let patterns: [String]
    let onLag: String
    private let transport: Transport
    private var random: SeededRandom
    private var peer: SimulatedPeer?
    private var unsent: [UInt8] = []
    private var responses: ResponseReader?
    private var reader: StreamReader?
    private var phase = Phase.beginning
    private var isStalled = false
    private(set) var isSettled = false
    private var restsUntil: UInt64 = 0
    /// A raw stream begins with everything from now on; what was asked for begins with another `$hello`.
    private var hellosDue = 0
    private var hasSentClose = false
    /// The life in which it connected: what it reads of an earlier one than the present is not held against anything.
    private var life = 0
    /// Its last connection ended in the middle of a state, or of changes.
    private var wasCutInside = false

    /// The state as it knows it, and whether that must be right; and everything up to here has come, or is in a `$gap`.
    private(set) var model = LastingModel()
    private(set) var isExact = false
    private(set) var place: UInt64 = 0
    private var epoch = ""
    /// What it says when it comes back; nil asks for the state.
    private var cursor: String?

    init(_ world: LastingWorld, number: Int, patterns: [String]? = nil) {
        self.world = world
        var random = world.random.fork()
        transport = random.pick(Transport.allCases)
        self.patterns = patterns ?? random.pick(LastingChannels.patterns)
        onLag = random.pick(["conflate", "conflate", "resnapshot", "resnapshot", "gap", "close"])
        self.random = random
        name = "reader \(number) (\(transport), \(self.patterns), \(onLag))"
    }

    // MARK: Its connection

    func act() {
        do {
            if peer == nil { connect() }
            guard let peer else { return }
            if !isSettled {
                if random.chance(0.03) { isStalled.toggle() }
                if random.chance(0.005) { return try leave(peer) }
            }
            if !unsent.isEmpty {
                let taken = world.kernel.peerWrite(peer, unsent.prefix(isSettled ? .max : random.magnitude(1...255)))
                if taken >= 0 { unsent.removeFirst(taken) } else { unsent = [] }
            }
            if isStalled, !isSettled { return }
            let bytes = world.kernel.peerRead(peer, max: isSettled ? .max : random.magnitude(1...4095))
            if !bytes.isEmpty { try take(bytes) }
            guard self.peer == peer, world.kernel.peerAtEnd(peer) else { return }
            world.kernel.peerClose(peer)
            disconnected()
        } catch { world.fail("\(name): \(error)") }
    }

    func settle() {
        isSettled = true
        restsUntil = 0
    }

    private func leave(_ peer: SimulatedPeer) throws {
        if random.chance(0.5) { world.kernel.peerReset(peer) } else { world.kernel.peerClose(peer) }
        disconnected()
    }

    private func connect() {
        guard world.kernel.now >= restsUntil, isSettled || random.chance(0.3) else { return }
        let address = transport == .unix ? World.unix("events.socket") : World.unix("http.socket")
        guard let peer = world.kernel.connect(to: address) else { return }
        self.peer = peer
        life = world.lives
        phase = .beginning
        hasSentClose = false
        responses = nil
        reader = nil
        if !isExact, random.chance(0.7) { cursor = nil }
        world.sightings.opened[cursor == nil ? "snapshot" : "cursor", default: 0] += 1
        let from = cursor ?? "snapshot"
        if transport == .unix {
            let channels = patterns.map { "\"\($0)\"" }.joined(separator: ",")
            unsent = Array(
                "{\"$subscribe\":{\"channel\":[\(channels)],\"from\":\"\(from)\",\"on_lag\":\"\(onLag)\"}}\n".utf8)
            reader = StreamReader(.jsonl)
            hellosDue = 2
        } else {
            let channels = patterns.map { "&channel=\($0)" }.joined()
            var head = "GET /v1/events?from=\(from)&on_lag=\(onLag)\(channels) HTTP/1.1\r\nHost: 127.0.0.1:7575\r\n"
            switch transport {
            case .sse: head += "Accept: text/event-stream\r\n"
            case .webSocket:
                head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            default: head += "Accept: application/x-ndjson\r\n"
            }
            unsent = Array((head + "\r\n").utf8)
            responses = ResponseReader()
            hellosDue = 1
        }
    }

    private func disconnected() {
        peer = nil
        world.sightings.comebacks += 1
        switch phase {
        case .state, .changes: wasCutInside = true
        case .open, .beginning: break
        }
        switch phase {
        case .state(_, _, let rows, let last):
            // It has every row up to the last one; what came behind that are events.
            if rows > 0 {
                (place, isExact) = (last, true)
                cursor = "\(epoch)-\(last)"
                world.sightings.cutInState += 1
            } else {
                (cursor, isExact) = (nil, false)
            }
        case .changes(let from, _, _, let rows, let last):
            place = rows > 0 ? last : from - 1
            cursor = "\(epoch)-\(place)"
            world.sightings.cutInChanges += 1
        case .open: if isExact || cursor != nil { cursor = "\(epoch)-\(place)" }
        case .beginning: break
        }
        phase = .beginning
        restsUntil = world.kernel.now + UInt64(random.chance(0.5) ? 0 : random.magnitude(1...1000))
    }

    // MARK: Reading

    private func take(_ bytes: [UInt8]) throws {
        var bytes = bytes
        if responses != nil, reader == nil {
            responses?.append(bytes)
            guard let response = try responses?.next() else { return }
            switch (response.status, transport) {
            case (200, .lines): reader = StreamReader(.jsonl)
            case (200, .sse): reader = StreamReader(.sse)
            case (101, .webSocket): reader = StreamReader(.webSocket)
            case (503, _) where world.isEnding || life < world.lives, (408, _): return
            default: throw Malformed("status \(response.status): \(response.body.excerpt)")
            }
            bytes = responses?.takeRest() ?? []
        }
        reader?.append(bytes)
        while let told = try reader?.next() {
            if peer == nil { return }
            try heard(told)
        }
    }

    private func heard(_ told: Told) throws {
        switch told {
        case .event(let seq, let channel, _, let payload, let id):
            // What a raw stream says before its subscription is not asked for.
            if hellosDue > 0, transport == .unix { return }
            let gone = life < world.lives ? world.ledger.goneEvent(seq, payload) : nil
            guard let event = gone ?? world.ledger.event(seq), event.channel == channel, event.payload == payload else {
                throw Malformed("\(seq) on \(channel): \(payload.excerpt)")
            }
            guard LastingLedger.matches(patterns, channel) else { throw Malformed("\(seq) was not asked for") }
            if transport == .sse, id != "\(epoch)-\(seq)" { throw Malformed("\(seq) has the id \(id ?? "none")") }
            try heard(event)
        case .record(let json, _, _): try heard(json)
        case .unstamped(let payload, _): throw Malformed("an event without a stamp: \(payload.excerpt)")
        case .ping(let payload): unsent += clientFrame(10, payload)
        case .close:
            if !hasSentClose { unsent += clientFrame(8, [3, 0xE8]) }
            hasSentClose = true
        case .comment, .pong: break
        }
    }

    private func heard(_ event: LastingEvent) throws {
        switch phase {
        case .beginning: throw Malformed("\(event.seq) before $hello")
        case .state(let to, let count, let rows, let last):
            guard event.seq > last, event.seq <= to else {
                throw Malformed("row \(event.seq) after \(last), as of \(to)")
            }
            switch event.effect {
            case .put, .reset: break
            case .none, .remove: throw Malformed("row \(event.seq) is no state: \(event.payload.excerpt)")
            }
            model.apply(event)
            phase = .state(to: to, count: count, rows: rows + 1, last: event.seq)
        case .changes(let from, let to, let dropped, let rows, let last):
            if event.seq > to {
                try endChanges()
                return try heard(event)
            }
            guard event.seq > last else { throw Malformed("change \(event.seq) after \(last)") }
            guard event.effect != .none else { throw Malformed("\(event.seq) has no key: \(event.payload.excerpt)") }
            model.apply(event)
            phase = .changes(from: from, to: to, dropped: dropped, rows: rows + 1, last: event.seq)
        case .open:
            guard event.seq > place else { throw Malformed("\(event.seq) after \(place)") }
            try checkNothingMissing(upTo: event.seq - 1)
            model.apply(event)
            place = event.seq
            cursor = "\(epoch)-\(place)"
            world.sightings.events += 1
        }
    }

    private func checkNothingMissing(upTo last: UInt64) throws {
        guard life == world.lives else { return }
        let missing = world.ledger.matching(patterns, after: place, upTo: last)
        guard missing.isEmpty else {
            throw Malformed("\(missing.count) events between \(place) and \(last) have not come: \(missing[0].seq)")
        }
    }

    /// All that was left of what it missed has come.
    private func endChanges() throws {
        guard case .changes(let from, let to, let dropped, let rows, _) = phase else { return }
        phase = .open
        place = to
        cursor = "\(epoch)-\(place)"
        guard isExact, life == world.lives else { return }
        try checkModel(upTo: to)
        let matching = UInt64(world.ledger.matching(patterns, after: from - 1, upTo: to).count)
        if let dropped, dropped + rows != matching {
            throw Malformed("\(dropped) were dropped of \(from) to \(to) and \(rows) came, of \(matching)")
        }
        world.sightings.conflated += 1
    }

    private func checkModel(upTo seq: UInt64) throws {
        guard life == world.lives else { return }
        let truth = world.ledger.state(of: patterns, upTo: seq)
        guard model == truth else {
            throw Malformed(
                "as of \(seq) it has \(model.rows.count) rows of \(truth.rows.count): "
                    + model.difference(from: truth))
        }
        world.sightings.compared += 1
    }

    // MARK: Records

    private func heard(_ json: TinyJSON) throws {
        // Of a raw stream that was not asked for only its $hello counts.
        if hellosDue > 0, transport == .unix, json["type"]?.text != "$hello" { return }
        switch json["type"]?.text {
        case "$hello": try heardHello(json)
        case "$snapshot": try heardSnapshot(json)
        case "$live": try heardLive(json)
        case "$gap": try heardGap(json)
        case "$bye", "$ping": break
        default: throw Malformed("a record \(json)")
        }
    }

    private func heardHello(_ json: TinyJSON) throws {
        guard let epoch = json["epoch"]?.text, json["seq"]?.integer != nil, hellosDue > 0 else {
            throw Malformed("a $hello: \(json)")
        }
        hellosDue -= 1
        guard hellosDue == 0 else { return }
        // What was lost since may have been newer than rows that were never sent for it: only the state itself helps.
        if cursor == nil || wasCutInside && epoch != self.epoch { isExact = false }
        wasCutInside = false
        self.epoch = epoch
        phase = .open
    }

    private func heardSnapshot(_ json: TinyJSON) throws {
        guard hellosDue == 0, case .open = phase, let seq = json["seq"]?.integer, let count = json["count"]?.integer
        else {
            throw Malformed("a $snapshot out of place: \(json)")
        }
        model = LastingModel()
        isExact = false
        phase = .state(to: seq, count: count, rows: 0, last: 0)
    }

    private func heardLive(_ json: TinyJSON) throws {
        guard case .state(let to, let count, let rows, _) = phase, json["seq"]?.integer == to, rows == count else {
            throw Malformed("a $live out of place: \(json), \(phase)")
        }
        try checkModel(upTo: to)
        phase = .open
        (place, isExact) = (to, true)
        cursor = "\(epoch)-\(to)"
        world.sightings.states += 1
    }

    private func heardGap(_ json: TinyJSON) throws {
        // It has fallen behind once more, or goes on elsewhere: what was under way is over.
        switch phase {
        case .changes(let from, _, _, let rows, let last):
            place = rows > 0 ? last : from - 1
            phase = .open
        case .state:
            isExact = false
            phase = .open
        case .open: break
        case .beginning: throw Malformed("a $gap before $hello")
        }
        guard let why = json["why"]?.text, let from = json["from"]?.integer, let to = json["to"]?.integer, from <= to
        else {
            throw Malformed("a $gap: \(json)")
        }
        world.sightings.gaps[why, default: 0] += 1
        switch why {
        case "conflated":
            guard onLag == "conflate" else { throw Malformed("\(json) was not asked for") }
            if isExact {
                guard from > place else { throw Malformed("\(json) behind \(place)") }
                try checkNothingMissing(upTo: from - 1)
            }
            phase = .changes(from: from, to: to, dropped: json["dropped"]?.integer, rows: 0, last: from - 1)
        case "lagged", "pruned":
            isExact = false
            place = max(place, to)
            cursor = "\(epoch)-\(place)"
        case "rewound":
            isExact = false
            place = from - 1
            cursor = "\(epoch)-\(to)"
        default: throw Malformed("a $gap that nothing explains: \(json)")
        }
    }

    // MARK: The end

    /// Whether it still waits for something.
    var isWaiting: Bool {
        guard peer != nil, hellosDue == 0 else { return true }
        switch phase {
        case .beginning, .state: return true
        case .changes(_, let to, _, _, _): return to < world.shown && !owes(after: to).isEmpty
        case .open: return !owes(after: place).isEmpty
        }
    }

    private func owes(after place: UInt64) -> [LastingEvent] {
        isExact ? world.ledger.matching(patterns, after: place, upTo: world.shown) : []
    }

    /// Everything is quiet: what it has made of all this must be the state.
    func check() throws {
        guard !isWaiting else { throw Malformed("still waits: \(phase), at \(place) of \(world.shown)") }
        try endChanges()
        if isExact { try checkModel(upTo: world.shown) }
    }
}
