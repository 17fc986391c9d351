/// Bytes that never change: keep-alives and the live page's files.

import CWebPage
import Wire

/// Runs over constant segments, made once per engine. Sending one copies nothing.
struct Constants {
    /// One of the page's files.
    struct File {
        var path: StaticString
        var contentType: StaticString
        var run: OutboundRun
    }

    /// The page may load its own files and nothing else.
    static let contentPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    let jsonlPing: OutboundRun
    let sseComment: OutboundRun
    let webSocketPing: OutboundRun
    private let files: [File]

    init(_ log: inout FrameLog) {
        func keepAlive(_ format: WireFormat, _ log: inout FrameLog) -> OutboundRun {
            var bytes: [UInt8] = []
            ControlRecord.ping.append(
                to: &bytes, format: format, discriminator: EventRules().discriminator.span, eventID: nil)
            let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
            _ = copy.initialize(from: bytes)
            return Self.run(UnsafeBufferPointer(copy), &log)
        }
        jsonlPing = keepAlive(.jsonl, &log)
        sseComment = keepAlive(.sse, &log)
        webSocketPing = keepAlive(.webSocket, &log)
        let embedded: [(StaticString, StaticString, UnsafePointer<UInt8>, Int)] = [
            ("/", "text/html; charset=utf-8", web_page_html_bytes(), web_page_html_size),
            ("/page.css", "text/css; charset=utf-8", web_page_css_bytes(), web_page_css_size),
            ("/page.js", "text/javascript; charset=utf-8", web_page_js_bytes(), web_page_js_size),
            ("/fanout.js", "text/javascript; charset=utf-8", web_fanout_js_bytes(), web_fanout_js_size),
        ]
        files = embedded.map { path, contentType, bytes, count in
            File(
                path: path, contentType: contentType,
                run: Self.run(UnsafeBufferPointer(start: bytes, count: count), &log))
        }
    }

    /// The file at a path.
    func file(_ path: Span<UInt8>) -> File? {
        for file in files where path.equals(file.path) { return file }
        return nil
    }

    private static func run(_ bytes: UnsafeBufferPointer<UInt8>, _ log: inout FrameLog) -> OutboundRun {
        OutboundRun(segment: log.segments.adopt(constant: bytes), start: 0, count: UInt32(bytes.count))
    }
}
