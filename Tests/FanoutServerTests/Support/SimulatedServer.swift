// A whole server on the simulated kernel: what runs in a process, without the process.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

/// An engine with every kind of listener. The test plays the readers, the writers and the clock.
final class SimulatedServer {
    static let http = SocketAddress.loopback(port: 7575)
    static let jsonl = SocketAddress.loopback(port: 7576)
    static let httpUnix = SocketAddress.unix(path: "http.socket")
    static let events = SocketAddress.unix(path: "events.socket")
    static let ingest = SocketAddress.unix(path: "ingest.socket")
    /// Publishes to the channel `fixed` only.
    static let ingestFixed = SocketAddress.unix(path: "ingest/fixed.socket")
    static let epoch = Epoch(rawValue: 0xe1)
    static let epochText = "00000000000000e1"

    let kernel: SimulatedKernel
    let loop: EventLoop
    let engine: Engine
    /// Its database, if it has one.
    let store: SimulatedStore?
    /// False once the engine has said that it is done.
    private(set) var isRunning = true
    /// Turns that one `settle` may take: far more than any test needs.
    private let turnsMax = 20_000

    init(
        seed: UInt64 = 1, pipeBytes: Int = 65_536, socketsMax: Int = 2048, faults: SimulatedFaults = .none,
        onEpoll: Bool = false, store: SimulatedStore? = nil, _ configure: (inout Configuration) -> Void = { _ in }
    ) throws {
        var limits = SimulatedKernel.Limits()
        limits.pipeBytes = pipeBytes
        kernel = SimulatedKernel(seed: seed, faults: faults, limits: limits)
        var loopConfiguration = LoopConfiguration()
        loopConfiguration.backend = onEpoll ? .simulatedEpoll(kernel) : .simulated(kernel)
        loopConfiguration.socketsMax = socketsMax
        let loop = try EventLoop(loopConfiguration)
        self.loop = loop
        var configuration = Configuration()
        configuration.logLevel = .debug
        configure(&configuration)
        let lines = Lines()
        let log = Log(level: configuration.logLevel, seconds: { loop.now / 1000 }, write: { lines.all.append($0) })
        loop.turn(wait: false)
        while loop.next() != nil {}
        self.store = store
        engine = try Engine(
            configuration, loop: loop, epoch: Self.epoch, seed: seed, log: log,
            storage: try store?.open(waking: loop.wakeup, by: kernel))
        self.lines = lines
        try engine.listen(.http, at: Self.http)
        try engine.listen(.jsonl, at: Self.jsonl)
        try engine.listen(.events, at: Self.events)
        try engine.listen(.httpUnix, at: Self.httpUnix)
        let standard = try #require(engine.hub.channel(.standard))
        let fixedName = try #require(ChannelName("fixed"))
        let fixed = try #require(engine.hub.channel(fixedName))
        try engine.listen(.ingest(channel: standard, fixed: false), at: Self.ingest)
        try engine.listen(.ingest(channel: fixed, fixed: true), at: Self.ingestFixed)
        try loop.watchSignals([15, 2])
    }

    /// What was logged so far.
    var log: [String] { lines.all }
    private let lines: Lines

    private final class Lines { var all: [String] = [] }

    /// Turns the engine, and its database after it, until nothing more happens by itself. Time stands still.
    func settle() {
        var quietTurns = 0
        for _ in 0..<turnsMax {
            guard isRunning else { return }
            if !engine.turn(wait: false) { isRunning = false }
            let isStoreQuiet = !(store?.run() ?? false)
            let isQuiet =
                isStoreQuiet && kernel.isQuiet && engine.delivery.queue.count == 0
                && (engine.deferred.isEmpty || engine.rest.isResting) && engine.replays.isEmpty
                && !engine.hub.images.hasWorkNow
            quietTurns = isQuiet ? quietTurns + 1 : 0
            if quietTurns == 3 { return }
        }
        Issue.record("the server does not come to rest")
    }

    /// Lets time pass in small steps, with the engine turning as it does.
    func pass(milliseconds: Int, step: Int = 100) {
        var left = milliseconds
        while left > 0 {
            let part = min(step, left)
            kernel.advance(milliseconds: UInt64(part))
            left -= part
            settle()
        }
    }

    func connect(_ address: SocketAddress = http, from identity: PeerIdentity? = nil) throws -> SimulatedClient {
        SimulatedClient(self, try #require(kernel.connect(to: address, from: identity)))
    }

    /// Publishes past all sockets. Returns the event's number.
    @discardableResult
    func publish(_ event: String, on channel: String = "events") throws -> UInt64 {
        let name = try #require(ChannelName(channel))
        let index = try #require(engine.hub.channel(name))
        let bytes = Array(event.utf8)
        defer { engine.hub.discardStaged() }
        try engine.hub.stage(bytes.span, rules: engine.hub.channels[index].rules)
        return try engine.publishStaged(to: .channel(index), level: nil).last
    }

    /// The sum of the samples of that name, and of those labels where they are given, in `/metrics`; nil if there are
    /// none.
    func metric(_ name: String, _ labels: String = "") -> UInt64? {
        let text = String(decoding: engine.metricsText(), as: UTF8.self)
        let values = text.split(separator: "\n").compactMap { line -> UInt64? in
            guard let space = line.lastIndex(of: " ") else { return nil }
            let sample = line[..<space]
            guard labels.isEmpty ? sample == name || sample.hasPrefix(name + "{") : sample == "\(name){\(labels)}"
            else { return nil }
            return UInt64(line[space...].dropFirst())
        }
        return values.isEmpty ? nil : values.reduce(0, +)
    }

    /// Everything has come home: no connection, no bytes, no reference, no input.
    func checkNothingIsHeld(sourceLocation: SourceLocation = #_sourceLocation) {
        let delivery = engine.delivery
        #expect(delivery.connections.total == 0, sourceLocation: sourceLocation)
        #expect(delivery.blocks.inUse == 0, sourceLocation: sourceLocation)
        #expect(delivery.queue.count == 0, sourceLocation: sourceLocation)
        #expect(engine.inputs.inUse == 0, sourceLocation: sourceLocation)
        // Every chain may keep its tail, and the history what it may.
        let held = delivery.log.segments.bytesHeld - engine.hub.window.segmentBytesHeld(delivery.log.segments)
        #expect(held <= 4 * 400 * 1024, sourceLocation: sourceLocation)
        #expect(engine.hub.pages.pages.isEmpty && engine.hub.replayingCount == 0, sourceLocation: sourceLocation)
        #expect(engine.replays.isEmpty, sourceLocation: sourceLocation)
        #expect(engine.hub.groupsInUse == 0, sourceLocation: sourceLocation)
    }
}

extension Hub {
    /// Groups that some connection is in.
    var groupsInUse: Int {
        var found: Set<UInt32> = []
        for slot in 0..<UInt32(delivery.connections.slotsUsed)
        where delivery.connections[slot].phase == .subscriber && delivery.connections[slot].group != Connection.none {
            found.insert(delivery.connections[slot].group)
        }
        return found.count
    }
}

/// One peer of the server.
final class SimulatedClient {
    let server: SimulatedServer
    let peer: SimulatedPeer
    /// What came and was not taken by `take…`.
    var received: [UInt8] = []

    init(_ server: SimulatedServer, _ peer: SimulatedPeer) {
        self.server = server
        self.peer = peer
        server.settle()
    }

    /// Writes everything, in one piece as far as it fits, and lets the server use it.
    func write(_ bytes: [UInt8]) {
        write(bytes, pieces: [bytes.count])
    }

    func write(_ text: String) { write(Array(text.utf8)) }

    /// Writes pieces of these sizes, each used by the server before the next comes.
    func write(_ bytes: [UInt8], pieces: [Int]) {
        var offset = 0
        for piece in pieces {
            let end = min(offset + piece, bytes.count)
            while offset < end {
                let count = server.kernel.peerWrite(peer, bytes[offset..<end])
                if count < 0 { return }
                offset += count
                server.settle()
                if count == 0, server.kernel.peerRoom(peer) == 0 { return }
            }
        }
    }

    /// Reads everything that comes without time passing.
    @discardableResult
    func read() -> [UInt8] {
        server.settle()
        while true {
            let bytes = server.kernel.peerRead(peer)
            if bytes.isEmpty { return received }
            received += bytes
            server.settle()
        }
    }

    /// Everything that came, and forgets it.
    func takeAll() -> [UInt8] {
        read()
        defer { received = [] }
        return received
    }

    func takeText() -> String { String(decoding: takeAll(), as: UTF8.self) }

    /// True exactly when the server has ended the stream and everything was read.
    var isAtEnd: Bool {
        read()
        return server.kernel.peerAtEnd(peer)
    }

    /// True exactly when the server closed or reset.
    var isClosed: Bool {
        server.settle()
        return server.kernel.serverHasClosed(peer)
    }

    func finish() {
        server.kernel.peerFinish(peer)
        server.settle()
    }

    func close() {
        server.kernel.peerClose(peer)
        server.settle()
    }
}
