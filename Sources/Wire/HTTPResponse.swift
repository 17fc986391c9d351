/// Response heads, appended to the caller's buffer.
///
/// Every response says `nosniff`. Field values are made safe on the way out: a control character in one becomes a
/// space, so no value can end its line, whatever it was built from.
package enum HTTPResponse {
    /// A field for one response.
    package struct Field: Sendable {
        package var name: StaticString
        package var value: [UInt8]

        package init(_ name: StaticString, _ value: [UInt8]) {
            self.name = name
            self.value = value
        }

        package init(_ name: StaticString, _ value: String) {
            self.init(name, Array(value.utf8))
        }
    }

    /// Appends a head. `contentLength` is left out where it is nil (204, 304, or a body that ends with the connection);
    /// `dateSeconds` (since 1970) becomes `Date`. A 426 says by itself which upgrade and which WebSocket version it
    /// means.
    package static func appendHead(
        status: Int, contentType: StaticString?, contentLength: Int?, keepAlive: Bool,
        cacheControl: StaticString = "no-store", fields: [Field] = [], dateSeconds: Int64? = nil,
        to output: inout [UInt8]
    ) {
        appendStatusLine(status, to: &output)
        if let dateSeconds {
            output.append(text: "Date: ")
            HTTPDate.append(dateSeconds, to: &output)
            output.append(text: "\r\n")
        }
        if let contentType { append("Content-Type", contentType, to: &output) }
        if let contentLength {
            output.append(text: "Content-Length: ")
            output.append(decimal: contentLength)
            output.append(text: "\r\n")
        }
        append("Cache-Control", cacheControl, to: &output)
        append("X-Content-Type-Options", "nosniff", to: &output)
        if status == 426 {
            append("Upgrade", "websocket", to: &output)
            append("Sec-WebSocket-Version", "13", to: &output)
            append("Connection", keepAlive ? "keep-alive, upgrade" : "close, upgrade", to: &output)
        } else {
            append("Connection", keepAlive ? "keep-alive" : "close", to: &output)
        }
        append(fields, to: &output)
        output.append(text: "\r\n")
    }

    /// Appends a whole response. Leave the body out for HEAD with `withBody: false`; its length is still said.
    package static func append(
        status: Int, contentType: StaticString, body: [UInt8], withBody: Bool = true, keepAlive: Bool,
        cacheControl: StaticString = "no-store", fields: [Field] = [], dateSeconds: Int64? = nil,
        to output: inout [UInt8]
    ) {
        appendHead(
            status: status, contentType: contentType, contentLength: body.count, keepAlive: keepAlive,
            cacheControl: cacheControl, fields: fields, dateSeconds: dateSeconds, to: &output)
        if withBody { output.append(contentsOf: body) }
    }

    /// Appends the head of a stream (`text/event-stream`, `application/x-ndjson`): 200, never stored, transformed or
    /// buffered on the way, and ended by the end of the connection, which needs no chunking and works with HTTP/1.0.
    package static func appendStreamHead(
        contentType: StaticString, fields: [Field] = [], dateSeconds: Int64? = nil, to output: inout [UInt8]
    ) {
        appendHead(
            status: 200, contentType: contentType, contentLength: nil, keepAlive: false,
            cacheControl: "no-store, no-transform",
            fields: [Field("X-Accel-Buffering", "no")] + fields, dateSeconds: dateSeconds, to: &output)
    }

    /// Appends the 101 that ends the WebSocket handshake; `key` is the request's `Sec-WebSocket-Key`. No extension and,
    /// unless `fields` says so, no subprotocol is agreed.
    package static func appendWebSocketUpgrade(key: Span<UInt8>, fields: [Field] = [], to output: inout [UInt8]) {
        appendStatusLine(101, to: &output)
        append("Upgrade", "websocket", to: &output)
        append("Connection", "Upgrade", to: &output)
        output.append(text: "Sec-WebSocket-Accept: ")
        output.append(contentsOf: WebSocketHandshake.accept(key: key))
        output.append(text: "\r\n")
        append(fields, to: &output)
        output.append(text: "\r\n")
    }

    /// Appends `100 Continue`, the interim answer to `HTTPRequestHead.expectsContinue`.
    package static func appendContinue(to output: inout [UInt8]) {
        output.append(text: "HTTP/1.1 100 Continue\r\n\r\n")
    }

    private static func appendStatusLine(_ status: Int, to output: inout [UInt8]) {
        output.append(text: "HTTP/1.1 ")
        output.append(decimal: status)
        output.append(ASCII.space)
        output.append(text: HTTPStatus.reason(status))
        output.append(text: "\r\n")
    }

    private static func append(_ name: StaticString, _ value: StaticString, to output: inout [UInt8]) {
        output.append(text: name)
        output.append(text: ": ")
        output.append(text: value)
        output.append(text: "\r\n")
    }

    private static func append(_ fields: [Field], to output: inout [UInt8]) {
        for field in fields {
            output.append(text: field.name)
            output.append(text: ": ")
            for byte in field.value { output.append(ASCII.isFieldContent(byte) ? byte : ASCII.space) }
            output.append(text: "\r\n")
        }
    }
}
