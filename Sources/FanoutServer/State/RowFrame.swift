/// How a row of a state is written in each form.

import Wire

/// One row of an image on the wire: as the event that it was.
enum RowFrame {
    /// How many bytes `write` writes.
    static func byteCount(_ form: StateImage.Form, _ line: Int, _ cursor: Cursor?, isFirst: Bool) -> Int {
        switch form {
        case .jsonl, .lines: line + 1
        case .sse: line + (cursor.map { 5 + $0.byteCount } ?? 0) + 8
        case .webSocket: WebSocketFrame.headerBytes(payload: line) + line
        case .array: line + (isFirst ? 0 : 1)
        }
    }

    /// Writes a row. Without a cursor a reader over SSE keeps the place that it has.
    static func write(
        _ form: StateImage.Form, _ line: UnsafeBufferPointer<UInt8>, _ cursor: Cursor?, isFirst: Bool,
        into output: UnsafeMutablePointer<UInt8>
    ) {
        // What was stamped is in the line already.
        let stamp = Stamp(
            members: [], epoch: cursor?.epoch ?? Epoch(rawValue: 0), seq: cursor?.seq ?? 0, timeMilliseconds: 0)
        let empty: [UInt8] = []
        switch form {
        case .jsonl, .lines:
            EventEncoder.encode(.jsonl, stamp: stamp, channel: empty.span, event: line.span, into: output)
        case .webSocket:
            EventEncoder.encode(.webSocket, stamp: stamp, channel: empty.span, event: line.span, into: output)
        case .sse where cursor != nil:
            EventEncoder.encode(.sse, stamp: stamp, channel: empty.span, event: line.span, into: output)
        case .sse:
            let before: StaticString = "data: "
            output.update(from: before.utf8Start, count: 6)
            (output + 6).update(from: line.baseAddress!, count: line.count)
            output[6 + line.count] = UInt8(ascii: "\n")
            output[7 + line.count] = UInt8(ascii: "\n")
        case .array:
            if !isFirst { output[0] = UInt8(ascii: ",") }
            (output + (isFirst ? 0 : 1)).update(from: line.baseAddress!, count: line.count)
        }
    }
}
