/// One reader of a world of states: connects, reads at its own pace, is cut, comes back.

import Reactor

final class KeptReader {
    enum Form: CaseIterable { case unix, jsonl, sse, webSocket }

    private let kernel: SimulatedKernel
    private let epoch: String
    let form: Form
    let onLag: String?
    /// Where it begins if it has no place.
    let start: String
    private(set) var model: KeptModel
    private var peer: SimulatedPeer?
    private var responses = ResponseReader()
    private var stream: StreamReader?
    private var random: SeededRandom
    private(set) var comebacks = 0
    private(set) var byes = 0
    private var hellos = 0
    private var hasPlace = false
    /// What of its request has not been written.
    private var unsent: [UInt8] = []
    let name: String

    init(
        _ kernel: SimulatedKernel, epoch: String, _ random: inout SeededRandom, number: Int
    ) {
        self.kernel = kernel
        self.epoch = epoch
        form = random.pick(Form.allCases)
        onLag = random.pick([nil, "conflate", "conflate", "resnapshot", "resnapshot", "gap", "close"])
        start = random.chance(0.75) ? "snapshot" : "now"
        let patterns = random.pick([["kept/**"], ["kept/a"], ["kept/a", "kept/b"], [], ["kept/*"]])
        let kinds = random.chance(0.15) ? ["put"] : []
        // A raw reader knows from `$hello` that its `$subscribe` was read.
        let hasControl = random.chance(0.9) || form == .unix
        model = KeptModel(patterns: patterns, kinds: kinds, hasControl: hasControl, position: 0)
        self.random = random.fork()
        name = "reader \(number) (\(form), \(start), on_lag \(onLag ?? "?"), \(patterns), \(kinds))"
    }

    var isConnected: Bool { peer != nil }
    var isAsking: Bool { !unsent.isEmpty }

    /// Connects, and asks for what it does not have.
    func connect(head: UInt64) {
        guard peer == nil else { return }
        // Without a place it has to begin anew; over JSONL and WebSocket the client has the numbers alone.
        let place = model.hasControl && form == .sse && comebacks > 0 ? model.lastID : nil
        hellos = 0
        hasPlace = place != nil
        if let seq = place.flatMap(Place.init)?.seq {
            model.comeBack(to: seq)
        } else {
            model.beginAnew(at: start == "now" ? head : 0)
        }
        let address: SocketAddress = form == .unix ? World.unix("events.socket") : World.http
        guard let peer = kernel.connect(to: address) else { return }
        self.peer = peer
        responses = ResponseReader()
        stream = form == .unix ? StreamReader(.jsonl) : nil
        unsent = form == .unix ? line : request(place)
        comebacks += 1
    }

    private var query: String {
        var parts = model.patterns.map { "channel=" + $0 } + ["from=" + start]
        if !model.kinds.isEmpty { parts.append("types=" + model.kinds.joined(separator: ",")) }
        if let onLag { parts.append("on_lag=" + onLag) }
        if !model.hasControl { parts.append("control=off") }
        return parts.joined(separator: "&")
    }

    private func request(_ place: String?) -> [UInt8] {
        var head = "GET /v1/events?\(query) HTTP/1.1\r\nHost: localhost:7575\r\n"
        switch form {
        case .sse: head += "Accept: text/event-stream\r\n"
        case .webSocket:
            head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        case .jsonl, .unix: break
        }
        if let place { head += "Last-Event-ID: \(place)\r\n" }
        return Array((head + "\r\n").utf8)
    }

    private var line: [UInt8] {
        func list(_ names: [String]) -> String { "[" + names.map { "\"\($0)\"" }.joined(separator: ",") + "]" }
        var parts = ["\"from\":\"\(start)\"", "\"channel\":" + list(model.patterns), "\"types\":" + list(model.kinds)]
        if let onLag { parts.append("\"on_lag\":\"\(onLag)\"") }
        if !model.hasControl { parts.append("\"control\":\"off\"") }
        return Array("{\"$subscribe\":{\(parts.joined(separator: ","))}}\n".utf8)
    }

    func leave() {
        if let peer { kernel.peerClose(peer) }
        peer = nil
    }

    /// Reads so many bytes at most, and holds what they say against the truth.
    func read(_ most: Int, _ truth: KeptTruth) throws {
        guard let peer else { return }
        if !unsent.isEmpty { unsent.removeFirst(max(0, kernel.peerWrite(peer, unsent))) }
        let bytes = kernel.peerRead(peer, max: most)
        if stream == nil {
            responses.append(bytes)
            if let response = try responses.next() {
                // Who takes too long to ask has to ask again.
                if response.status == 408 { return leave() }
                guard response.status == (form == .webSocket ? 101 : 200) else {
                    throw Malformed("\(name): status \(response.status)")
                }
                stream = StreamReader(form == .sse ? .sse : form == .webSocket ? .webSocket : .jsonl)
                stream?.append(responses.takeRest())
            }
        } else {
            stream?.append(bytes)
        }
        do {
            while let told = try stream?.next() { try take(told, truth) }
        } catch let fault as Malformed {
            throw Malformed("\(name): \(fault)")
        }
        if kernel.peerAtEnd(peer) { leave() }
    }

    /// A raw reader is sent everything from now on before its `$subscribe` was read: that is not what it asked for.
    private var isOwn: Bool { form != .unix || hellos == 2 }

    private func take(_ told: Told, _ truth: KeptTruth) throws {
        if case .record(let json, _, _) = told {
            if json["type"]?.text == "$bye" { byes += 1 }
            if json["type"]?.text == "$hello" {
                hellos += 1
                if isOwn, !hasPlace, start == "now", let seq = json["seq"]?.integer { model.beginAnew(at: seq) }
            }
        }
        if isOwn { try model.take(told, truth) }
    }

    /// Everything there is has come.
    func checkComplete(_ truth: KeptTruth) throws {
        do {
            if isConnected { try model.checkComplete(truth) }
        } catch let fault as Malformed {
            throw Malformed("\(name): \(fault)")
        }
    }
}
