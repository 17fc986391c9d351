/// A client that does not speak the protocol: whatever it does must harm nobody else.

import Reactor

/// Writes junk to any listener, in pieces, reads little, and leaves when it likes.
final class Vandal: Client {
    /// Whether a JSON object of its would be an event.
    private let isAtIngest: Bool

    init(_ world: World, _ peer: SimulatedPeer, number: Int, isAtIngest: Bool) {
        self.isAtIngest = isAtIngest
        super.init(world, peer, "vandal \(number)", pace: .slow)
        hasMisbehaved = true
        for _ in 0..<1 + random.below(3) { unsent += junk() }
    }

    private func junk() -> [UInt8] {
        switch random.below(8) {
        case 0: noise(random.magnitude(1...3000))
        case 1: Array("GET / HTTP/1.1\r\nHost: localhost:7575\r\n\r\n")
        case 2:
            Array(
                "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
        case 3: Array("GET /v1/events HTTP/1.1\r\nHost: localhost:7575\r\nAccept: text/event-stream\r\nX: ")
        case 4:
            Array(
                ("GET /metrics HTTP/1.1\r\nHost: [::1]:7575\r\n\r\n"
                    + "GET /v1/channels HTTP/1.1\r\nHost: evil.example\r\n\r\n").utf8
            )
        case 5 where !isAtIngest: Array("{\"$subscribe\":{\"channel\":[\"a\"],\"control\":\"maybe\"}}\n") + noise(100)
        case 6: Array("{\"$publish\":{\"event\":7}}\n{\"$ack\":True}\n\u{0}\n")
        default: Array(String(repeating: "[", count: random.magnitude(1...4000)))
        }
    }

    private func noise(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) } }

    override func perform() {
        switch random.below(40) {
        case 0: leave(reset: true)
        case 1: leave(reset: false)
        case 2: finish()
        default: break
        }
    }

    override func settle() { leave(reset: random.chance(0.5)) }
}
