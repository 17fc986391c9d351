/// The forms of values that flags and the configuration file share.

import Reactor
import Wire

/// Says whether a text has a form; what it means is for its reader.
package enum ValueSyntax {
    /// Whether `text` is `ADDRESS:PORT` with a numeric address or `localhost`.
    package static func isAddress(_ text: String) -> Bool { SocketAddress(parsing: text) != nil }

    /// Whether `text` names one channel.
    package static func isChannelName(_ text: String) -> Bool { ChannelName(text) != nil }

    /// Whether `text` is a channel or a pattern of channels.
    package static func isChannelPattern(_ text: String) -> Bool { ChannelPattern(text) != nil }

    /// Whether `text` says where a stream begins: `now`, `start`, `snapshot` or a cursor.
    package static func isStart(_ text: String) -> Bool {
        ["now", "start", "snapshot"].contains(text) || Cursor(text) != nil
    }

    /// Whether `text` is an origin as browsers write it, such as `https://app.example`.
    package static func isOrigin(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return WebOrigin.parse(bytes.span) != nil
    }

    /// A number of bytes: digits, and `k`, `M` or `G` for 1,024 and its powers; nil where a text is none.
    package static func byteCount(_ text: String) -> Int? {
        var digits = Substring(text)
        var unit = 1
        switch digits.last {
        case "k", "K": unit = 1 << 10
        case "m", "M": unit = 1 << 20
        case "g", "G": unit = 1 << 30
        default: break
        }
        if unit > 1 { digits.removeLast() }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let number = Int(digits) else {
            return nil
        }
        let (bytes, overflows) = number.multipliedReportingOverflow(by: unit)
        return overflows ? nil : bytes
    }

    /// What a memory budget may be.
    package static let memoryRange = MemoryFormula.memoryLeast...(1 << 50)

    /// What to say of a text that is no memory budget.
    package static let memoryAdvice = "a number of bytes such as 268435456, 256M or 2G, 16M at least"

    /// Whether a number of bytes is one that may be held of the past: none, or a megabyte and more.
    package static func isHistorySize(_ bytes: Int) -> Bool { bytes == 0 || historyRange.contains(bytes) }

    private static let historyRange = MemoryFormula.historyLeast...(1 << 40)

    /// What to say of a text that is no such number.
    package static let historyAdvice = "a number of bytes such as 67108864, 64M or 1G, 1M at least, or 0 for none"

    /// Whether a number of bytes is one that a channel may be kept to.
    package static func isRetentionSize(_ bytes: Int) -> Bool {
        (1...Configuration.Retention.bytesMost).contains(bytes)
    }

    /// What to say of a text that is no such number.
    package static let retentionAdvice = "a number of bytes such as 67108864, 64M or 1G, at least 1"

    /// What to say of a text that is not a pattern.
    package static let patternAdvice =
        "a channel pattern has parts of letters, digits and . _ ~ - joined by /; a part may be *, the last one **"
}
