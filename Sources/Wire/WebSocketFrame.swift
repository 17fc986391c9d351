// What the server sends over a WebSocket, frame by frame.

import Planted

/// Frames as a server writes them: unmasked, in one piece, lengths in the shortest form.
package enum WebSocketFrame {
    /// The most that a header has.
    package static let headerBytesMax = 10

    /// How many bytes the header of a frame with this many payload bytes has: 2, 4 or 10.
    package static func headerBytes(payload count: Int) -> Int {
        count <= 125 ? 2 : count <= (isPlanted("frameOf65536In16Bits") ? 65_536 : 65_535) ? 4 : 10
    }

    /// Appends a header. A message in fragments begins with its opcode and `final: false` and goes on with
    /// `.continuation`.
    package static func appendHeader(
        _ opcode: WebSocketOpcode, final: Bool = true, payload count: Int, to output: inout [UInt8]
    ) {
        precondition(count >= 0, "a payload's length cannot be negative")
        output.append((final ? 0x80 : 0) | opcode.rawValue)
        switch headerBytes(payload: count) {
        case 2:
            output.append(UInt8(count))
        case 4:
            output.append(126)
            appendBigEndian(UInt64(count), bytes: 2, to: &output)
        default:
            output.append(127)
            appendBigEndian(UInt64(count), bytes: 8, to: &output)
        }
    }

    /// Appends a whole frame. A control frame's payload is at most 125 bytes.
    package static func append(_ opcode: WebSocketOpcode, _ payload: Span<UInt8>, to output: inout [UInt8]) {
        precondition(opcode.rawValue < 8 || payload.count <= 125, "control frames carry at most 125 bytes")
        appendHeader(opcode, payload: payload.count, to: &output)
        output.append(bytes: payload)
    }

    /// Appends a close frame. The reason is cut to 123 bytes, at the end of a character, and must be UTF-8.
    package static func appendClose(code: UInt16, reason: Span<UInt8>, to output: inout [UInt8]) {
        var count = min(reason.count, 123)
        if count < reason.count {
            while count > 0, reason[count] & 0xC0 == 0x80 { count -= 1 }
        }
        appendHeader(.close, payload: count + 2, to: &output)
        appendBigEndian(UInt64(code), bytes: 2, to: &output)
        output.append(bytes: reason.extracting(first: count))
    }

    /// Appends the close frame that tells a client of its fault.
    package static func appendClose(_ fault: WebSocketFault, to output: inout [UInt8]) {
        fault.reason.withUTF8Buffer { appendClose(code: fault.closeCode, reason: $0.span, to: &output) }
    }

    private static func appendBigEndian(_ value: UInt64, bytes count: Int, to output: inout [UInt8]) {
        for index in (0..<count).reversed() { output.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
    }
}
