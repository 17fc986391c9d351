/// What a report is made from: files of lines, and what is wrong with them.

/// A file that was read.
package struct ReportInput: Sendable {
    /// How messages call it.
    package var name: String
    /// All of it.
    package var bytes: [UInt8]

    /// `name` is used in messages only.
    package init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    /// Calls `body` with each line that is not empty, and its number from 1; line ends are left out.
    func forEachLine(_ body: (Int, Span<UInt8>) -> Void) {
        var number = 0
        var start = 0
        while start < bytes.count {
            var end = start
            while end < bytes.count, bytes[end] != UInt8(ascii: "\n") { end += 1 }
            number += 1
            let line = bytes.span.extracting(start..<end)
            if line.indices.contains(where: { line[$0] > 0x20 }) { body(number, line) }
            start = end + 1
        }
    }
}

/// Lines that are not what they should be.
package struct ReportError: Error, Sendable {
    /// Each as `FILE:LINE: what is wrong`; at most `messagesMax`, then how many more there are.
    package var messages: [String]

    /// How many are told.
    package static let messagesMax = 20

    init(_ all: [String]) {
        messages = Array(all.prefix(Self.messagesMax))
        if all.count > Self.messagesMax { messages.append("and \(all.count - Self.messagesMax) more") }
    }
}
