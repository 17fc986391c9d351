// Slow requests on the virtual clock.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("HTTP deadlines")
struct HTTPDeadlineTests {
    @Test("a head that trickles is answered 408 after ten seconds, however busily it trickles")
    func head() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write("G")
        for _ in 0..<98 {
            server.pass(milliseconds: 100)
            client.write("E")
        }
        #expect(client.read().isEmpty)
        server.pass(milliseconds: 300)
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [408])
        #expect(answers.first?.errorCode == "request_timeout")
        #expect(client.isAtEnd)
    }

    @Test("a body that trickles is answered 408 thirty seconds after its head", arguments: [true, false])
    func body(chunked: Bool) throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(
            RequestText.make(
                "POST", "/v1/events",
                ["Content-Type: application/json", chunked ? "Transfer-Encoding: chunked" : "Content-Length: 100000"]))
        if chunked { client.write("FFFF\r\n") }
        for _ in 0..<29 {
            server.pass(milliseconds: 1000)
            client.write("x")
        }
        #expect(client.read().isEmpty)
        server.pass(milliseconds: 1200)
        #expect(Answer.all(client.takeAll()).map(\.status) == [408])
        #expect(client.isAtEnd)
        client.close()
        server.checkNothingIsHeld()
    }

    @Test("a connection that says nothing is closed after ten seconds without a word")
    func silent() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        server.pass(milliseconds: 9_900)
        #expect(!client.isClosed)
        server.pass(milliseconds: 300)
        #expect(client.isAtEnd)
        #expect(client.takeAll().isEmpty)
        #expect(client.isClosed)
    }

    @Test("an idle keep-alive connection is closed after 75 seconds, and each request begins them anew")
    func idle() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(RequestText.get("/healthz"))
        server.pass(milliseconds: 70_000, step: 1000)
        client.write(RequestText.get("/healthz"))
        server.pass(milliseconds: 74_000, step: 1000)
        #expect(!client.isAtEnd)
        server.pass(milliseconds: 1_500)
        #expect(client.isAtEnd)
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200])
    }

    @Test("the second request on a connection has its own ten seconds")
    func secondHead() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(RequestText.get("/healthz"))
        server.pass(milliseconds: 20_000, step: 1000)
        client.write("GET /healthz HTTP/1.1\r\n")
        server.pass(milliseconds: 9_500)
        client.write("Host: localhost\r\n\r\n")
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200])
    }

    @Test("a peer that never ends its side is closed two seconds after the last byte")
    func draining() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(RequestText.get("/healthz", ["Connection: close"]))
        #expect(client.isAtEnd == false || !client.isClosed)
        client.read()
        server.pass(milliseconds: 1_800)
        #expect(!client.isClosed)
        server.pass(milliseconds: 400)
        #expect(client.isClosed)
        server.checkNothingIsHeld()
    }

    @Test("a peer that goes on writing while its connection drains is cut")
    func drainingFlood() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(RequestText.get("/healthz", ["Connection: close"]))
        client.write([UInt8](repeating: 65, count: 8 << 20))
        #expect(!client.isClosed)
        client.write([UInt8](repeating: 65, count: 1))
        #expect(client.isClosed)
    }
}
