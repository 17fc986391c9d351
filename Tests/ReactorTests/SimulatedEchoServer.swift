/// An echo server on EventLoop, as an owner of the loop should be written: it is what the simulated runs exercise.

import Glibc

@testable import Reactor

/// Sends back what it receives. One send in flight per connection, bytes held until its completion, input paused while
/// too much is unsent, accepting stopped for a while when the process is out of something.
final class SimulatedEchoServer {
    /// What is kept per connection, indexed by the socket's slot.
    private final class Connection {
        /// Received and not yet being sent.
        var waiting: [UInt8] = []
        /// What the kernel holds.
        var inFlight = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        var inFlightSent = 0
        var hasEnded = false
        var isClosing = false
        /// True exactly when a send was refused for want of memory and the timer will try again.
        var waitsToRetry = false

        deinit { inFlight.deallocate() }
    }

    let loop: EventLoop
    let listener: SocketID
    private var connections: [SocketID: Connection] = [:]
    private let acceptTimer: TimerID
    private let beatTimer: TimerID
    private let beatMilliseconds: UInt64 = 250
    private let waitingBytesMax = 4_096

    private(set) var signals: [Int32] = []
    private(set) var wakes = 0
    private(set) var beats = 0
    var connectionCount: Int { connections.count }
    /// Completions that named a connection which had been reported closed: must stay empty.
    private(set) var strays: [String] = []

    init(_ loop: EventLoop, at address: SocketAddress) throws(SystemError) {
        self.loop = loop
        listener = try loop.listen(address, ListenOptions())
        acceptTimer = loop.makeTimer()
        beatTimer = loop.makeTimer()
        loop.accept(listener)
        loop.setTimer(beatTimer, at: loop.now + beatMilliseconds)
    }

    /// One turn of the loop with everything it brings.
    func turn(wait: Bool) {
        loop.turn(wait: wait)
        while let completion = loop.next() { handle(completion) }
    }

    func closeAll() {
        // In the order of the slots: the order of a dictionary differs from run to run.
        for socket in connections.keys.sorted(by: { $0.slot < $1.slot }) { close(socket) }
    }

    private func handle(_ completion: Completion) {
        switch completion.kind {
        case .accepted:
            accepted(completion)
        case .received:
            guard let connection = connection(completion) else { return }
            received(completion, connection)
        case .sent:
            guard let connection = connection(completion) else { return }
            sent(completion, connection)
        case .closed:
            if connections.removeValue(forKey: completion.socket) == nil { strays.append("closed twice") }
        case .timer:
            if completion.timer == acceptTimer {
                loop.accept(listener)
            } else if completion.timer == beatTimer {
                beats += 1
                loop.setTimer(beatTimer, at: loop.now + beatMilliseconds)
            } else if let connection = connection(completion) {
                connection.waitsToRetry = false
                sendMore(completion.socket, connection)
            }
        case .signal:
            signals.append(completion.result)
        case .woken:
            wakes += 1
        }
    }

    private func connection(_ completion: Completion) -> Connection? {
        let found = connections[completion.socket]
        if found == nil { strays.append("\(completion.kind) for a socket that is closed") }
        return found
    }

    private func accepted(_ completion: Completion) {
        guard completion.result >= 0 else {
            if completion.result == -ECONNABORTED {
                loop.accept(listener)
            } else {
                loop.setTimer(acceptTimer, at: loop.now + 500)
            }
            return
        }
        if connections[completion.accepted] != nil { strays.append("accepted a socket that is open") }
        connections[completion.accepted] = Connection()
        loop.receive(completion.accepted)
    }

    private func received(_ completion: Completion, _ connection: Connection) {
        if completion.result > 0 {
            connection.waiting += loop.bytes(of: completion)
            if connection.waiting.count > waitingBytesMax && loop.isReceiving(completion.socket) {
                loop.pauseReceiving(completion.socket)
            }
            sendMore(completion.socket, connection)
        } else if completion.result == 0 {
            connection.hasEnded = true
            sendMore(completion.socket, connection)
        } else {
            close(completion.socket)
        }
    }

    private func sent(_ completion: Completion, _ connection: Connection) {
        guard completion.result >= 0 else {
            if completion.result == -ENOBUFS || completion.result == -ENOMEM {
                connection.waitsToRetry = true
                loop.setTimer(TimerID(completion.socket), at: loop.now + 20)
            } else {
                close(completion.socket)
            }
            return
        }
        connection.inFlightSent += Int(completion.result)
        sendMore(completion.socket, connection)
    }

    private func sendMore(_ socket: SocketID, _ connection: Connection) {
        guard !connection.isClosing, !connection.waitsToRetry, !loop.isSending(socket) else { return }
        if connection.inFlightSent == connection.inFlight.count {
            connection.inFlight.deallocate()
            connection.inFlight = .allocate(byteCount: connection.waiting.count, alignment: 1)
            connection.inFlight.copyBytes(from: connection.waiting)
            connection.inFlightSent = 0
            connection.waiting.removeAll()
            if !connection.hasEnded && !loop.isReceiving(socket) { loop.receive(socket) }
        }
        guard connection.inFlightSent < connection.inFlight.count else {
            if connection.hasEnded { close(socket) }
            return
        }
        // In up to three pieces, so that gathering is exercised too.
        loop.gather.removeAll()
        let rest = UnsafeRawBufferPointer(rebasing: connection.inFlight[connection.inFlightSent...])
        let third = max(1, rest.count / 3)
        var start = 0
        for piece in 0..<3 where start < rest.count {
            let end = piece == 2 ? rest.count : min(rest.count, start + third)
            loop.gather.append(rest.baseAddress! + start, end - start)
            start = end
        }
        loop.send(socket)
    }

    private func close(_ socket: SocketID) {
        guard let connection = connections[socket], !connection.isClosing else { return }
        connection.isClosing = true
        loop.close(socket, .graceful)
    }
}
