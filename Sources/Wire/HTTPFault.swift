/// Why an HTTP request was refused: the status to answer with, a code for programs and a sentence for people.
///
/// Every fault of this kind leaves the connection at an unknown place in its input: answer and close.
package struct HTTPFault: Error, Equatable, Sendable {
    /// 4xx or 5xx.
    package var status: Int
    /// The error's `code` in the answer's body, in snake case.
    package var code: StaticString
    /// What is wrong and what would be right.
    package var message: StaticString

    package init(status: Int, code: StaticString, message: StaticString) {
        self.status = status
        self.code = code
        self.message = message
    }

    package static func == (left: HTTPFault, right: HTTPFault) -> Bool {
        left.status == right.status && left.code.description == right.code.description
            && left.message.description == right.message.description
    }

    /// 400: the bytes are not HTTP/1.1 as RFC 9112 defines it.
    static func badRequest(_ message: StaticString) -> HTTPFault {
        HTTPFault(status: 400, code: "bad_request", message: message)
    }

    /// 400: the body's length is not certain. Guessing it is how requests are smuggled.
    static func badLength(_ message: StaticString) -> HTTPFault {
        HTTPFault(status: 400, code: "bad_length", message: message)
    }

    /// 400: the request target has a form or a byte that is refused.
    static func badTarget(_ message: StaticString) -> HTTPFault {
        HTTPFault(status: 400, code: "bad_target", message: message)
    }

    /// 400: the Host field is missing, repeated, malformed or contradicted by the target.
    static func badHost(_ message: StaticString) -> HTTPFault {
        HTTPFault(status: 400, code: "bad_host", message: message)
    }

    /// 400: the framing of a chunked body is broken.
    static func badChunk(_ message: StaticString) -> HTTPFault {
        HTTPFault(status: 400, code: "bad_chunk", message: message)
    }

    /// 400: the WebSocket opening handshake is not one (RFC 6455 section 4.2.1).
    static func badHandshake(_ message: StaticString) -> HTTPFault {
        HTTPFault(status: 400, code: "bad_handshake", message: message)
    }

    /// 431: too much head.
    static func headTooLarge(_ message: StaticString) -> HTTPFault {
        HTTPFault(status: 431, code: "head_too_large", message: message)
    }

    static var bareLineFeed: HTTPFault { .badRequest("a line ends with a bare LF; lines end with CR LF") }
    static var bareCarriageReturn: HTTPFault { .badRequest("a CR is not followed by LF") }
    static var controlByte: HTTPFault { .badRequest("the head contains a control character") }

    /// 414: the request line is longer than the limit.
    package static var targetTooLong: HTTPFault {
        HTTPFault(status: 414, code: "target_too_long", message: "the request line is too long")
    }

    /// 413: the body is, or says that it will be, larger than the limit.
    package static var bodyTooLarge: HTTPFault {
        HTTPFault(status: 413, code: "body_too_large", message: "the request body is larger than this server takes")
    }

    /// 417: `Expect` asks for something other than `100-continue`.
    static var expectationFailed: HTTPFault {
        HTTPFault(status: 417, code: "expectation_failed", message: "the only expectation known is 100-continue")
    }

    /// 426: the WebSocket version is not 13; the answer names the one that is.
    static var webSocketVersion: HTTPFault {
        HTTPFault(status: 426, code: "websocket_version", message: "this server speaks WebSocket version 13 (RFC 6455)")
    }

    /// 501: a transfer coding other than exactly `chunked`.
    static var transferEncodingUnsupported: HTTPFault {
        HTTPFault(
            status: 501, code: "transfer_encoding_unsupported",
            message: "the only Transfer-Encoding that is supported is chunked, named once and in lower case")
    }

    /// 505: a version other than HTTP/1.0 and HTTP/1.1.
    static var versionUnsupported: HTTPFault {
        HTTPFault(status: 505, code: "version_unsupported", message: "this server speaks HTTP/1.1 and HTTP/1.0")
    }
}
