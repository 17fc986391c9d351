// The loop: turns completions into calls of sessions, and what sessions want into operations.

import Glibc
import Reactor

/// The server: one loop, one listener, a table of sessions.
final class EchoServer {
    /// A connection on which nothing moves for this long is reset. 120 s: the slowest Autobahn case may take 100 s.
    private static let idleMillisecondsMax: UInt64 = 120_000
    /// How long a client may take to end its side after the last word.
    private static let lingerMillisecondsMax: UInt64 = 5000
    /// How long accepting rests after an error such as too many open files.
    private static let acceptPauseMilliseconds: UInt64 = 100
    private static let socketsMax = 4096

    private let loop: EventLoop
    private let listener: SocketID
    private let acceptTimer: TimerID
    private var sessions = SessionTable(capacity: EchoServer.socketsMax)
    /// When each slot's connection is given up, on the loop's clock.
    private var deadlines = [UInt64](repeating: 0, count: EchoServer.socketsMax)
    /// True exactly for the slots whose sending side has been ended.
    private var isEnding = [Bool](repeating: false, count: EchoServer.socketsMax)

    /// Opens the listener; throws one line that says what is wrong.
    init(_ options: EchoOptions) throws(SystemError) {
        var configuration = LoopConfiguration()
        configuration.backend = options.backend
        configuration.socketsMax = EchoServer.socketsMax
        loop = try EventLoop(configuration)
        try loop.watchSignals([SIGINT, SIGTERM])
        listener = try loop.listen(options.address)
        acceptTimer = loop.makeTimer()
    }

    /// Where it listens, and over what.
    var readyLine: String {
        let address = loop.localAddress(of: listener).description
        return "echo-server: ready at http://\(address)/ and ws://\(address)/echo on \(loop.backendDescription)"
    }

    /// Serves until SIGINT or SIGTERM.
    func run() {
        loop.accept(listener)
        while true {
            loop.turn(wait: true)
            while let completion = loop.next() {
                if completion.kind == .signal { return }
                handle(completion)
            }
        }
    }

    private func handle(_ completion: Completion) {
        switch completion.kind {
        case .accepted: accepted(completion)
        case .received: received(completion)
        case .sent: sent(completion)
        case .timer: timerFired(completion)
        case .closed: sessions.close(completion.socket.slot)
        case .signal, .woken: break
        }
    }

    private func accepted(_ completion: Completion) {
        guard completion.result >= 0 else {
            loop.setTimer(acceptTimer, at: loop.now + EchoServer.acceptPauseMilliseconds)
            return
        }
        let socket = completion.accepted
        let slot = Int(socket.slot)
        sessions.open(socket.slot)
        isEnding[slot] = false
        deadlines[slot] = loop.now + EchoServer.idleMillisecondsMax
        loop.setTimer(TimerID(socket.slot), at: deadlines[slot])
        loop.receive(socket)
    }

    private func received(_ completion: Completion) {
        guard let session = sessions.find(completion.socket.slot) else { return }
        guard completion.result >= 0 else { return loop.close(completion.socket, .reset) }
        if completion.result == 0 {
            session.pointee.receiveEnd()
        } else {
            session.pointee.receive(loop.bytes(of: completion).bindMemory(to: UInt8.self))
        }
        moved(completion.socket, session)
    }

    private func sent(_ completion: Completion) {
        guard let session = sessions.find(completion.socket.slot) else { return }
        guard completion.result >= 0 else { return loop.close(completion.socket, .reset) }
        session.pointee.didSend(Int(completion.result))
        moved(completion.socket, session)
    }

    /// After each step of a session: does what it asks for now.
    private func moved(_ socket: SocketID, _ session: UnsafeMutablePointer<Session>) {
        let slot = Int(socket.slot)
        if !isEnding[slot] { deadlines[slot] = loop.now + EchoServer.idleMillisecondsMax }
        if !loop.isSending(socket), session.pointee.outbox.pendingBytes > 0 {
            let bytes = session.pointee.outbox.nextBytes()
            guard let base = bytes.baseAddress else { return }
            loop.gather.removeAll()
            loop.gather.append(base, bytes.count)
            loop.send(socket)
        }
        if session.pointee.hasFinished { return finish(socket, session) }
        if session.pointee.wantsInput {
            loop.receive(socket)
        } else {
            loop.pauseReceiving(socket)
        }
    }

    /// Ends our side and reads on until the client ends its own: closing with bytes unread would reset the connection,
    /// and the client might never see the last word.
    private func finish(_ socket: SocketID, _ session: UnsafeMutablePointer<Session>) {
        let slot = Int(socket.slot)
        if session.pointee.inputHasEnded { return loop.close(socket, .graceful) }
        loop.receive(socket)
        if isEnding[slot] { return }
        isEnding[slot] = true
        loop.finishSending(socket)
        deadlines[slot] = loop.now + EchoServer.lingerMillisecondsMax
        loop.setTimer(TimerID(socket.slot), at: deadlines[slot])
    }

    private func timerFired(_ completion: Completion) {
        if completion.timer == acceptTimer { return loop.accept(listener) }
        let slot = Int(completion.socket.slot)
        guard loop.now >= deadlines[slot] else { return loop.setTimer(completion.timer, at: deadlines[slot]) }
        loop.close(completion.socket, .reset)
    }
}
