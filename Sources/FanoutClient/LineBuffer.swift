/// Bytes as they arrive, cut into lines.

import Wire

/// A buffer that gives its lines back one by one. Its size is bounded by the longest line and one read.
package struct LineBuffer {
    /// The longest line accepted: an event of 262,144 bytes with its stamp and the longest channel name fits four
    /// times.
    package static let lineBytesMax = 1 << 20

    private var bytes: [UInt8] = []
    private var start = 0
    private var searched = 0

    /// An empty buffer.
    package init() {}

    /// Adds bytes at the end.
    package mutating func append(_ more: some Collection<UInt8>) {
        // Moving what is left is linear, so it is done only when more lies before it than in it.
        if start > bytes.count / 2 {
            bytes.removeFirst(start)
            start = 0
        }
        bytes.append(contentsOf: more)
    }

    /// The next whole line without its end, a carriage return before it included in the end.
    package mutating func next() throws(ClientError) -> [UInt8]? {
        var known = searched
        let step = LineFramer.next(bytes.span, from: start, searched: &known, lineBytesMax: Self.lineBytesMax)
        searched = known
        switch step {
        case .line(let range, let next):
            start = next
            var line = bytes[range.range]
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            return Array(line)
        case .incomplete:
            return nil
        case .tooLong:
            throw ClientError(.protocolFault, "the server sent a line of more than \(Self.lineBytesMax) bytes")
        }
    }

    /// Forgets everything.
    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        start = 0
        searched = 0
    }
}
