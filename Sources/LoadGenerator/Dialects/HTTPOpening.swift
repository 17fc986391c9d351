/// A subscription over HTTP: the request, and the response's head before the stream.

import FanoutClient
import Wire

enum HTTPOpening {
    /// Appends the request. `{channel}` in the path stands for the channel; without it fanout's own parameter is used.
    static func append(_ route: Route, channel: String?, fields: String, to output: inout [UInt8]) {
        append(route.target(channel: channel), host: route.host, fields: fields, to: &output)
    }

    /// Appends the request for a target.
    static func append(_ target: String, host: String, fields: String, to output: inout [UInt8]) {
        output += "GET \(target) HTTP/1.1\r\nHost: \(host)\r\n\(fields)\r\n".utf8
    }

    /// Takes the response's head, which must have `status`.
    static func take(_ bytes: Span<UInt8>, status: Int, _ state: inout OpeningState) -> HandshakeStep {
        switch head(bytes) {
        case .incomplete: return .incomplete
        case .malformed: return .refused("not an HTTP response: \(bytes.excerpt)")
        case .whole(let head, let count):
            guard head.status == status else { return .refused("status \(head.status): \(bytes.excerpt)") }
            if status == 200, case .length(let length) = head.framing {
                return .refused("a body of \(length) bytes is not a stream: \(bytes.excerpt)")
            }
            state.isChunked = head.framing == .chunked
            return .done(used: count)
        }
    }

    /// The first step of protocols inside of a WebSocket: the response to the upgrade. Behind it everything comes in
    /// frames, and `speak` says what is said first.
    static func takeUpgrade(_ bytes: Span<UInt8>, _ state: inout OpeningState, _ speak: () -> Void) -> HandshakeStep {
        let step = take(bytes, status: 101, &state)
        guard case .done(let used) = step else { return step }
        state.stage = 1
        state.isInFrames = true
        speak()
        return .step(used: used)
    }

    enum Head {
        case incomplete, malformed
        case whole(HTTPClientResponse, bytes: Int)
    }

    /// The response head at the front.
    static func head(_ bytes: Span<UInt8>) -> Head {
        // Without the end of a head there is nothing to copy yet; most come whole.
        let copy = bytes.withUnsafeBufferPointer { Array($0.prefix(HTTPClientResponse.headBytesMax + 1)) }
        do throws(ClientError) {
            guard let (head, count) = try HTTPClientResponse.parse(copy[...]) else { return .incomplete }
            return .whole(head, bytes: count)
        } catch {
            return .malformed
        }
    }
}
