/// Server-sent events (HTML standard, section 9.2), with LF or CR LF at the ends of lines.

enum SSEDialect {
    static let requestFields = "Accept: text/event-stream\r\n"

    /// One record: the lines up to an empty one. Its payload is its `data` line; of several, the lines together.
    static func find(_ bytes: Span<UInt8>) -> Finding {
        var line = 0
        var data: Range<Int>?
        while let end = bytes.first(10, from: line) {
            let last = end > line && bytes[end - 1] == 13 ? end - 1 : end
            if last == line {
                guard let data else { return .skip(frame: end + 1) }
                return .classified(bytes, frame: end + 1, payload: data)
            }
            if bytes.has("data:", at: line, before: last) {
                let start = line + 5 < last && bytes[line + 5] == 32 ? line + 6 : line + 5
                data = (data?.lowerBound ?? start)..<last
            }
            line = end + 1
        }
        return bytes.count >= frameBytesMax ? .fault("a record of more than \(frameBytesMax) bytes") : .incomplete
    }
}
