/// One event and away: what goes out, and that nothing about the server can hurt who sends it.

import FanoutClient
import Glibc
import Testing

private let event = Array(#"{"type":"shield_up"}"#.utf8)

/// A listening unix socket that accepts nobody until it is asked to.
private struct Listener: ~Copyable {
    let path = "/tmp/fanout-once-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    private let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var endpoint: Endpoint { .unix(path: path) }

    init(backlog: Int32 = 8) throws {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = path
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0 && listen(descriptor, backlog) == 0)
    }

    /// All that the oldest waiting connection says until it ends.
    func heard() -> String {
        let connection = accept(descriptor, nil, nil)
        defer { close(connection) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while case let count = read(connection, &buffer, buffer.count), count > 0 { text += buffer[..<count] }
        return String(decoding: text, as: UTF8.self)
    }

    /// Leaves the file behind, as a process does that is killed.
    func die() {
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    deinit {
        close(descriptor)
        unlink(path)
    }
}

@Suite("One shot", .timeLimit(.minutes(1)))
struct OneShotTests {
    @Test("on a socket it is one line and the end, taken although nobody has accepted it yet")
    func socketLine() throws {
        let listener = try Listener()
        #expect(EventEmitter.emitOnce(event, to: listener.endpoint, withinMilliseconds: 0))
        #expect(EventEmitter.emitOnce(event, to: listener.endpoint, channel: "a/b", withinMilliseconds: 0))
        #expect(listener.heard() == #"{"type":"shield_up"}"# + "\n")
        #expect(listener.heard() == #"{"$publish":{"event":{"type":"shield_up"},"channel":"a/b"}}"# + "\n")
    }

    @Test("nobody there, a socket that somebody left behind, and what is no event are silent failures")
    func silence() throws {
        #expect(!EventEmitter.emitOnce(event, to: .unix(path: "/does/not/exist")))
        #expect(!EventEmitter.emitOnce(event, to: .unix(path: String(repeating: "x", count: 200))))
        #expect(!EventEmitter.emitOnce(event, to: .unix(path: "/tmp")))
        #expect(!EventEmitter.emitOnce(event, to: try Endpoint(url: "http://127.0.0.1:1")))
        let listener = try Listener()
        #expect(!EventEmitter.emitOnce(Array("[]".utf8), to: listener.endpoint))
        listener.die()
        #expect(!EventEmitter.emitOnce(event, to: listener.endpoint))
    }

    @Test("a server whose queue is full is not waited for longer than asked")
    func fullQueue() throws {
        let listener = try Listener(backlog: 0)
        var taken = 0
        let start = ContinuousClock.now
        while taken < 100, EventEmitter.emitOnce(event, to: listener.endpoint, withinMilliseconds: 0) { taken += 1 }
        #expect((1..<100).contains(taken), "the kernel queues a few and then no more")
        #expect(!EventEmitter.emitOnce(event, to: listener.endpoint, withinMilliseconds: 30))
        // Without the limit it would be for ever: the bound leaves room for a busy machine.
        #expect(ContinuousClock.now - start < .seconds(10))
        for _ in 0..<taken { #expect(listener.heard() == #"{"type":"shield_up"}"# + "\n") }
    }

    @Test("an event larger than what the kernel takes for a server that is stopped is given up in time")
    func large() throws {
        let listener = try Listener()
        let large = Array("{\"a\":\"\(String(repeating: "x", count: 262_000))\"}".utf8)
        let small = Array("{\"a\":\"\(String(repeating: "x", count: 60_000))\"}".utf8)
        #expect(!EventEmitter.emitOnce(large, to: listener.endpoint, withinMilliseconds: 20))
        #expect(EventEmitter.emitOnce(small, to: listener.endpoint, withinMilliseconds: 0))
    }

    @Test(
        "over HTTP the answer decides, and one that does not come is not waited for",
        arguments: [("200 OK", true), ("202 Accepted", true), ("503 Service Unavailable", false), (nil, false)])
    func http(status: String?, isTaken: Bool) throws {
        let server = try TinyServer(
            http: true,
            [
                { connection in
                    let request = connection.receiveRequest()
                    guard let status, request?.head.contains("ack=none") == true else { return }
                    connection.answer(status, "{}")
                    _ = connection.receive(until: "the other end has gone")
                }
            ])
        let milliseconds = status == nil ? 50 : 10_000
        #expect(EventEmitter.emitOnce(event, to: server.endpoint, withinMilliseconds: milliseconds) == isTaken)
    }

    @Test("text becomes a JSON string whatever is in it")
    func quoting() {
        #expect(JSONString.quoted("web \"x\"\\\n\u{1}é") == #""web \"x\"\\\n\u0001é""#)
    }
}
