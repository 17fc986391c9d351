/// Publishing by POST: one event or a batch of lines to a request, several requests under way.

import FanoutClient
import Wire

enum HTTPPublishing {
    /// A batch is one request of lines, where the server takes that.
    static func appendBatchStart(_ route: PublishRoute, count: Int, eventBytes: Int, to output: inout [UInt8]) {
        guard route.takesBatches else { return }
        let isBatch = count > 1
        appendHead(
            route, channel: 0, type: isBatch ? "application/x-ndjson" : "application/json",
            length: count * (eventBytes + (isBatch ? 1 : 0)), to: &output)
    }

    static func append(
        _ event: UnsafeBufferPointer<UInt8>, _ route: PublishRoute, channel: Int, inBatchOf count: Int,
        to output: inout [UInt8]
    ) {
        if !route.takesBatches {
            appendHead(route, channel: channel, type: "application/json", length: event.count, to: &output)
        }
        output.append(contentsOf: event)
        if route.takesBatches, count > 1 { output.append(10) }
    }

    private static func appendHead(
        _ route: PublishRoute, channel: Int, type: String, length: Int, to output: inout [UInt8]
    ) {
        let target = route.target(channel: route.channels.isEmpty ? nil : route.channels[channel])
        output += "POST \(target) HTTP/1.1\r\nHost: \(route.host)\r\n".utf8
        output += "Content-Type: \(type)\r\nContent-Length: \(length)\r\n\r\n".utf8
    }

    /// One answer, which must be of the 2xx.
    static func find(_ bytes: Span<UInt8>) -> Finding {
        switch HTTPOpening.head(bytes) {
        case .incomplete: return .incomplete
        case .malformed: return .fault("not an HTTP response")
        case .whole(let head, let count):
            let whole: Int
            switch head.framing {
            case .length(let length):
                guard length <= frameBytesMax else { return .fault("an answer of \(length) bytes") }
                whole = count + length
            case .chunked:
                switch chunkedEnd(bytes, from: count) {
                case .success(let end?): whole = end
                case .success(nil): return .incomplete
                case .failure(let fault): return .fault(fault.text)
                }
            case .untilClose: return .fault("an answer without a length")
            }
            guard bytes.count >= whole else { return .incomplete }
            if head.status < 200 { return .skip(frame: whole) }
            return head.status < 300 ? .taken(frame: whole) : .fault("refused with status \(head.status)")
        }
    }

    /// Where a body in chunks that begins at `start` ends.
    private static func chunkedEnd(_ bytes: Span<UInt8>, from start: Int) -> Result<Int?, FrameFault> {
        var decoder = ChunkedDecoder(bodyBytesMax: frameBytesMax)
        var consumed = start
        do throws(HTTPFault) {
            while true {
                switch try decoder.next(bytes, consumed: &consumed, limits: HTTPLimits()) {
                case .data: continue
                case .needsMore: return .success(nil)
                case .end: return .success(consumed)
                }
            }
        } catch {
            return .failure(FrameFault("broken chunks in an answer"))
        }
    }
}
