// The opening handshake of WebSocket: what is checked in the request and what is answered.

import CDigest

/// The server's half of the opening handshake (RFC 6455 section 4.2).
package enum WebSocketHandshake {
    /// Checks a request of which `wantsWebSocket` is true and returns where its key is; `appendWebSocketUpgrade`
    /// answers it.
    ///
    /// Throws 426 for a version other than 13, and 400 for a key that is not 16 bytes in base64 and for a request with
    /// a body.
    package static func check(_ request: HTTPRequestHead, _ head: Span<UInt8>) throws(HTTPFault) -> ByteRange {
        precondition(request.wantsWebSocket, "only an upgrade request can be checked")
        guard let version = request.secWebSocketVersion, ASCII.matches(head, version, "13") else {
            throw .webSocketVersion
        }
        guard let key = request.secWebSocketKey, isKey(head, key) else {
            throw .badHandshake("Sec-WebSocket-Key is not 16 bytes in base64")
        }
        guard request.body == .none || request.body == .length(0) else {
            throw .badHandshake("an upgrade request has a body")
        }
        return key
    }

    /// The value of `Sec-WebSocket-Accept`: base64 of the SHA-1 of the key and the protocol's own identifier, 28 bytes.
    package static func accept(key: Span<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(key.count + 36)
        text.append(bytes: key)
        text.append(text: "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        var digest = [UInt8](repeating: 0, count: 20)
        digest_sha1(text, text.count, &digest)
        return base64(digest)
    }

    /// 22 characters of base64 and two `=`: what 16 bytes encode to.
    private static func isKey(_ head: Span<UInt8>, _ key: ByteRange) -> Bool {
        guard key.count == 24, ASCII.matches(head, ASCII.range(key.end - 2, key.end), "==") else { return false }
        for index in Int(key.start)..<(key.end - 2) {
            let byte = head[index]
            guard ASCII.isLetter(byte) || ASCII.isDigit(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "/")
            else { return false }
        }
        return true
    }

    private static func base64(_ bytes: [UInt8]) -> [UInt8] {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        var text: [UInt8] = []
        alphabet.withUTF8Buffer { letters in
            for start in stride(from: 0, to: bytes.count, by: 3) {
                let count = min(3, bytes.count - start)
                var group: UInt32 = 0
                for index in 0..<3 { group = group << 8 | (index < count ? UInt32(bytes[start + index]) : 0) }
                for index in 0..<4 {
                    let letter = letters[Int(group >> (18 - 6 * UInt32(index)) & 63)]
                    text.append(index <= count ? letter : UInt8(ascii: "="))
                }
            }
        }
        return text
    }
}
