/// Many sockets that do everything at once, with an account of every byte.

import Testing

@testable import Reactor

/// Peers write, the loop's side sends, pauses, resumes and closes at random, and peers go away in the midst of it.
final class Storm {
    private struct Line {
        let socket: SocketID
        let peer: Peer
        /// What the peer wrote, and what the loop's side sent and had taken.
        var written: [UInt8] = []
        var received: [UInt8] = []
        var sent: [UInt8] = []
        var read: [UInt8] = []
        var sending: [UInt8] = []
        /// One side has closed: nothing is claimed of the bytes any more.
        var isOver = false
        var closes = 0
    }

    let driver: Driver
    private let listener: SocketID
    private var lines: [Line] = []
    private var places: [SocketID: Int] = [:]
    private var random: SplitMix

    init(
        _ transport: Transport, seed: UInt64, sockets: Int = 200, _ adjust: (inout LoopConfiguration) -> Void
    ) throws {
        random = SplitMix(state: seed)
        driver = try Driver(.uring, adjust)
        listener = try driver.listen(transport)
        // All at once, so that accepting meets a full completion queue too.
        let address = driver.loop.localAddress(of: listener)
        let peers = try (0..<sockets).map { _ in try Peer(connectingTo: address) }
        try driver.run("every accept") { driver.all(.accepted).count == sockets }
        // Who is who: the peer says its number.
        var names: [SocketID: [UInt8]] = [:]
        driver.onCompletion = { [unowned driver] completion in
            if completion.kind == .received {
                names[completion.socket, default: []] += driver.loop.bytes(of: completion)
            }
        }
        for (number, peer) in peers.enumerated() { peer.write([UInt8(number & 0xFF), UInt8(number >> 8)]) }
        for completion in driver.all(.accepted) { driver.loop.receive(completion.accepted) }
        try driver.run("every name") { names.values.count { $0.count == 2 } == sockets }
        for (socket, name) in names.sorted(by: { $0.key.slot < $1.key.slot }) {
            places[socket] = lines.count
            lines.append(Line(socket: socket, peer: peers[Int(name[0]) | Int(name[1]) << 8]))
        }
        driver.forget()
        driver.onCompletion = { [unowned self] in note($0) }
    }

    private func note(_ completion: Completion) {
        guard let place = places[completion.socket] else { return }
        switch completion.kind {
        case .received: lines[place].received += driver.loop.bytes(of: completion)
        case .sent where completion.result > 0:
            lines[place].sent += lines[place].sending.prefix(Int(completion.result))
        case .closed: lines[place].closes += 1
        default: break
        }
    }

    /// The storm, then calm; then the account is drawn.
    func run(rounds: Int) throws {
        for round in 0..<rounds {
            for place in lines.indices where !lines[place].isOver { act(place, round) }
            driver.turn(wait: round % 2 == 0)
            for place in lines.indices where !lines[place].isOver { lines[place].read += lines[place].peer.read() }
        }
        for line in lines where !line.isOver { driver.loop.receive(line.socket) }
        try driver.run("every byte") {
            for place in lines.indices where !lines[place].isOver { lines[place].read += lines[place].peer.read() }
            return lines.allSatisfy {
                $0.isOver
                    || ($0.received.count == $0.written.count && !driver.loop.isSending($0.socket)
                        && $0.read.count == $0.sent.count)
            }
        }
        for line in lines where !line.isOver {
            #expect(line.received == line.written)
            #expect(line.read == line.sent)
            #expect(driver.loop.isReceiving(line.socket))
        }
        // Whoever is there is armed: each hears of one byte more.
        for line in lines where !line.isOver { line.peer.write([0xEE]) }
        try driver.run("a byte more") { lines.allSatisfy { $0.isOver || $0.received.last == 0xEE } }
        try end()
    }

    private func act(_ place: Int, _ round: Int) {
        let socket = lines[place].socket
        let bytes = pattern(1 + Int(random.next() % 1500), seed: random.next())
        let taken = lines[place].peer.write(bytes)
        if taken > 0 { lines[place].written += bytes.prefix(taken) }
        if !driver.loop.isSending(socket) {
            lines[place].sending = pattern(1 + Int(random.next() % 1500), seed: random.next())
            driver.send(lines[place].sending, on: socket)
        }
        switch random.next() % 12 {
        case 0...2: driver.loop.pauseReceiving(socket)
        case 3...6: driver.loop.receive(socket)
        case 7 where round > 1:
            lines[place].isOver = true
            driver.loop.close(socket, random.next() % 2 == 0 ? .graceful : .reset)
        case 8 where round > 1:
            lines[place].isOver = true
            if random.next() % 2 == 0 { lines[place].peer.reset() } else { lines[place].peer.close() }
        default: break
        }
    }

    /// Everything is closed, in the middle of whatever it does: one `.closed` each, and nothing afterwards.
    private func end() throws {
        #expect(lines.count { $0.isOver } > 0)
        for line in lines {
            if !line.isOver { line.peer.write([1, 2, 3]) }
            if driver.loop.isOpen(line.socket) {
                driver.loop.close(line.socket, random.next() % 2 == 0 ? .graceful : .reset)
            }
        }
        driver.loop.close(listener, .graceful)
        try driver.run("every close") { driver.loop.socketCount == 0 }
        #expect(lines.allSatisfy { $0.closes == 1 })
        let completions = driver.loop.stats.completions
        driver.settle(milliseconds: 30)
        #expect(driver.log.last?.completion.kind == .closed)
        #expect(driver.loop.stats.completions - completions <= 10, "only the driver's own timer")
    }
}
