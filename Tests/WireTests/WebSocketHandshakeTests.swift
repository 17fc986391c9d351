// The handshake, the frames that a server writes, and masks.

import Testing

@testable import Wire

@Suite("The WebSocket handshake and the frames of a server")
struct WebSocketHandshakeTests {
    private func check(_ fields: String...) -> Int {
        let lines = ["GET /echo HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade"] + fields
        let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
        do throws(HTTPFault) {
            let head = try HTTPRequestHead.parse(bytes.span, limits: HTTPLimits())
            _ = try WebSocketHandshake.check(head, bytes.span)
            return 101
        } catch {
            return error.status
        }
    }

    @Test("the RFC's key gives the RFC's answer")
    func accept() {
        let key = Array("dGhlIHNhbXBsZSBub25jZQ==".utf8)
        #expect(
            String(decoding: WebSocketHandshake.accept(key: key.span), as: UTF8.self) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        var output: [UInt8] = []
        HTTPResponse.appendWebSocketUpgrade(key: key.span, to: &output)
        let expected = [
            "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "", "",
        ]
        #expect(String(decoding: output, as: UTF8.self) == expected.joined(separator: "\r\n"))
    }

    @Test("version 13 and a key of 16 bytes are asked for")
    func checks() {
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        #expect(check(key, "Sec-WebSocket-Version: 13") == 101)
        #expect(check(key, "Sec-WebSocket-Version: 13", "Content-Length: 0") == 101)
        #expect(check(key) == 426)
        for version in ["", "8", "013", "14", "13, 8", "13 8"] {
            #expect(check(key, "Sec-WebSocket-Version: \(version)") == 426)
        }
        #expect(check("Sec-WebSocket-Version: 13") == 400)
        for key in [
            "", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25j====", "dGhlIHNhbXBsZSBub25jZQ=A", "dGhlIHNhbXBsZSBub25j!Q==",
            "dGhlIHNhbXBsZSBub25jZQ-=", "dGhlIHNhbXBsZSBub25jZSE=",
        ] {
            #expect(check("Sec-WebSocket-Key: \(key)", "Sec-WebSocket-Version: 13") == 400, "\(key)")
        }
        #expect(check(key, "Sec-WebSocket-Version: 13", "Content-Length: 1") == 400)
        #expect(check(key, "Sec-WebSocket-Version: 13", "Transfer-Encoding: chunked") == 400)
    }

    @Test("headers have the shortest form, checked byte by byte")
    func headers() {
        func header(_ opcode: WebSocketOpcode, _ count: Int, final: Bool = true) -> [UInt8] {
            var output: [UInt8] = []
            WebSocketFrame.appendHeader(opcode, final: final, payload: count, to: &output)
            #expect(output.count == WebSocketFrame.headerBytes(payload: count))
            #expect(output.count <= WebSocketFrame.headerBytesMax)
            return output
        }
        #expect(header(.text, 0) == [0x81, 0])
        #expect(header(.text, 125) == [0x81, 125])
        #expect(header(.binary, 126) == [0x82, 126, 0, 126])
        #expect(header(.binary, 65_535) == [0x82, 126, 0xFF, 0xFF])
        #expect(header(.binary, 65_536) == [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0])
        #expect(header(.text, 1, final: false) == [0x01, 1])
        #expect(header(.continuation, 1, final: false) == [0x00, 1])
        #expect(header(.continuation, 1) == [0x80, 1])
    }

    @Test("control frames, byte for byte")
    func controlFrames() {
        var output: [UInt8] = []
        let payload: [UInt8] = [1, 2]
        WebSocketFrame.append(.pong, payload.span, to: &output)
        WebSocketFrame.appendClose(code: 1000, reason: [UInt8]().span, to: &output)
        WebSocketFrame.appendClose(WebSocketFault(closeCode: 1009, reason: "big"), to: &output)
        #expect(output == [0x8A, 2, 1, 2, 0x88, 2, 0x03, 0xE8, 0x88, 5, 0x03, 0xF1, 0x62, 0x69, 0x67])
    }

    @Test("a close reason is cut to 123 bytes at the end of a character")
    func longReasons() {
        func reasonBytes(_ text: String) -> Int {
            var output: [UInt8] = []
            let reason = Array(text.utf8)
            WebSocketFrame.appendClose(code: 1000, reason: reason.span, to: &output)
            #expect(Int(output[1]) == output.count - 2)
            let isValid = UTF8Check.isValid(output.span.extracting(4..<output.count))
            #expect(isValid)
            return output.count - 4
        }
        #expect(reasonBytes(String(repeating: "a", count: 123)) == 123)
        #expect(reasonBytes(String(repeating: "a", count: 124)) == 123)
        #expect(reasonBytes(String(repeating: "a", count: 122) + "é") == 122)
        #expect(reasonBytes(String(repeating: "😀", count: 40)) == 120)
        #expect(reasonBytes("") == 0)
    }

    @Test("every fault's sentence fits into a close frame")
    func faultReasons() {
        for vector in WebSocketVector.all {
            let outcome = WebSocketOutcome.read(
                vector.bytes, pieces: Pieces.whole(vector.bytes.count), limits: vector.limits)
            guard let fault = outcome.fault else { continue }
            #expect(fault.reason.utf8CodeUnitCount <= 123 && WebSocketCloseCode.mayBeSent(fault.closeCode))
        }
    }

    @Test("masks of every phase and length are undone")
    func masks() {
        var numbers = SeededNumbers(31)
        for count in 0...40 {
            for cut in 0...count {
                let plain = (0..<count).map { _ in UInt8.random(in: 0...255, using: &numbers) }
                var masked = plain
                for index in masked.indices { masked[index] ^= ClientFrame.mask[index % 4] }
                let mask = ClientFrame.mask.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                masked.withUnsafeMutableBufferPointer { bytes in
                    let next = WebSocketMask.remove(mask, from: UnsafeMutableBufferPointer(rebasing: bytes[..<cut]))
                    _ = WebSocketMask.remove(next, from: UnsafeMutableBufferPointer(rebasing: bytes[cut...]))
                }
                #expect(masked == plain)
            }
        }
    }
}
