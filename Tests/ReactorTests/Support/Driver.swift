/// Drives a loop in a test and remembers what it reported.

import Testing

@testable import Reactor

/// A loop with a log of its completions, driven until something is true.
final class Driver {
    struct Entry {
        let completion: Completion
        /// What was received.
        let bytes: [UInt8]
    }

    struct TimedOut: Error, CustomStringConvertible {
        let description: String
    }

    let loop: EventLoop
    private(set) var log: [Entry] = []
    private var gone: Set<SocketID> = []
    private var lent: [UnsafeMutablePointer<UInt8>] = []
    /// Called for each completion, while its bytes are valid.
    var onCompletion: ((Completion) -> Void)?
    /// Wakes the loop now and then, so that conditions on the outside world are looked at.
    private let pulse: TimerID

    init(_ backend: TestBackend, _ adjust: (inout LoopConfiguration) -> Void = { _ in }) throws {
        loop = try backend.makeLoop(adjust)
        pulse = loop.makeTimer()
    }

    deinit {
        for bytes in lent { bytes.deallocate() }
    }

    /// Takes turns until the condition holds.
    func run(
        _ what: String = "what the test waits for", seconds: UInt64 = 60, until isDone: () throws -> Bool
    ) throws {
        let deadline = loop.now + seconds * 1000
        while try !isDone() {
            if loop.now > deadline { throw TimedOut(description: "\(what) did not happen; log: \(summary)") }
            loop.setTimer(pulse, at: loop.now + 5)
            turn(wait: true)
        }
    }

    /// One turn, all of it.
    func turn(wait: Bool = false) {
        loop.turn(wait: wait)
        while let completion = loop.next() {
            if completion.kind == .timer, completion.timer == pulse { continue }
            check(completion)
            log.append(Entry(completion: completion, bytes: Array(loop.bytes(of: completion))))
            onCompletion?(completion)
        }
    }

    /// What holds for every completion of every test.
    private func check(_ completion: Completion) {
        if completion.socket != .none, gone.contains(completion.socket) {
            Issue.record("\(completion.kind) for \(completion.socket) after its .closed")
        }
        switch completion.kind {
        case .closed:
            gone.insert(completion.socket)
            if loop.isOpen(completion.socket) { Issue.record("a closed socket is open") }
        case .sent:
            if loop.isSending(completion.socket) { Issue.record("a send is in flight after .sent") }
        case .received where completion.result <= 0:
            if loop.isReceiving(completion.socket) { Issue.record("receiving after the end") }
        default: break
        }
    }

    /// Turns for something not to happen in: a few, and some real milliseconds.
    func settle(milliseconds: UInt64 = 60) {
        let end = loop.now + milliseconds
        while loop.now < end {
            loop.setTimer(pulse, at: loop.now + 5)
            turn(wait: true)
        }
    }

    func all(_ kind: Completion.Kind, _ socket: SocketID? = nil) -> [Completion] {
        log.compactMap {
            $0.completion.kind == kind && (socket == nil || $0.completion.socket == socket) ? $0.completion : nil
        }
    }

    /// All bytes that came in on a socket.
    func received(_ socket: SocketID) -> [UInt8] {
        log.flatMap { $0.completion.kind == .received && $0.completion.socket == socket ? $0.bytes : [] }
    }

    func forget() { log.removeAll() }

    var summary: String {
        log.suffix(12).map { "\($0.completion.kind) \($0.completion.socket.slot) \($0.completion.result)" }
            .joined(separator: ", ")
    }

    // MARK: Common steps

    /// A listener on a free port of loopback, or on a path, accepting.
    func listen(_ transport: Transport, _ options: ListenOptions = ListenOptions()) throws -> SocketID {
        let listener = try loop.listen(transport.address(), options)
        loop.accept(listener)
        return listener
    }

    /// A connected pair: the loop's end and the peer's.
    func connect(to listener: SocketID, receiving: Bool = true) throws -> (socket: SocketID, peer: Peer) {
        let before = all(.accepted).count
        let peer = try Peer(connectingTo: loop.localAddress(of: listener))
        try run("the accept") { all(.accepted).count > before }
        let completion = all(.accepted)[before]
        try #require(completion.result >= 0)
        if receiving { loop.receive(completion.accepted) }
        return (completion.accepted, peer)
    }

    /// Sends bytes that stay valid as long as the driver.
    func send(_ bytes: [UInt8], on socket: SocketID) {
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
        copy.initialize(from: bytes, count: bytes.count)
        lent.append(copy)
        loop.gather.removeAll()
        loop.gather.append(copy, bytes.count)
        loop.send(socket)
    }
}
