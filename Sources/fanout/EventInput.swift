/// The events that `emit` publishes: an argument, or the lines of standard input.

import FanoutClient
import Glibc

/// Gives events one by one; holds one line and one read of standard input at most.
struct EventInput {
    /// One event and its line, 0 for an argument.
    struct Event {
        enum Text {
            case whole([UInt8])
            /// More bytes than an event may have: the line has been skipped.
            case tooLong
        }
        let text: Text
        let line: Int
    }

    /// Whether events come from standard input.
    let isStream: Bool
    /// Why standard input could not be read.
    private(set) var readFault: String?
    private var bytes: [UInt8]
    private var start = 0
    private var searched = 0
    private var line = 0
    private var isSkipping = false
    private var hasEnded: Bool

    /// One event.
    init(_ event: [UInt8]) {
        isStream = false
        bytes = event
        hasEnded = true
    }

    /// The lines of standard input.
    init() {
        isStream = true
        bytes = []
        hasEnded = false
    }

    static let tooLong = ClientError(
        .invalidInput, "event_too_large: an event has at most \(EventText.eventBytesMax) bytes")

    /// True exactly when no further event will come.
    var isAtEnd: Bool { hasEnded && start == bytes.count && !isSkipping }

    /// Reads once; to be called when that does not block.
    mutating func read() {
        guard !hasEnded else { return }
        if start > bytes.count / 2 {
            bytes.removeFirst(start)
            start = 0
        }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(STDIN_FILENO, &buffer, buffer.count)
        if count > 0 {
            bytes += buffer[..<count]
        } else if count == 0 {
            hasEnded = true
        } else if errno != EINTR, errno != EAGAIN {
            readFault = String(cString: strerror(errno))
            hasEnded = true
        }
    }

    /// The next event that has been read as a whole. Blank lines are skipped, and a last line needs no end.
    mutating func next() -> Event? {
        guard isStream else {
            guard start < bytes.count else { return nil }
            start = bytes.count
            return Event(text: .whole(bytes), line: 0)
        }
        while start < bytes.count {
            let end = bytes[(start + searched)...].firstIndex(of: UInt8(ascii: "\n"))
            guard let end = end ?? (hasEnded ? bytes.count : nil) else {
                searched = bytes.count - start
                // A line that is too long already is forgotten as it arrives.
                if searched > EventText.eventBytesMax { skip() }
                return nil
            }
            line += 1
            let text = Array(bytes[start..<end])
            start = min(end + 1, bytes.count)
            searched = 0
            if isSkipping || text.count > EventText.eventBytesMax {
                isSkipping = false
                return Event(text: .tooLong, line: line)
            }
            if text.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) {
                return Event(text: .whole(text), line: line)
            }
        }
        if hasEnded, isSkipping {
            isSkipping = false
            line += 1
            return Event(text: .tooLong, line: line)
        }
        return nil
    }

    /// Reads standard input to its end and forgets it.
    mutating func discardRest() {
        while isStream, !hasEnded {
            bytes.removeAll(keepingCapacity: true)
            start = 0
            var wait = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            if poll(&wait, 1, -1) > 0 { read() }
        }
        bytes.removeAll()
        start = 0
    }

    private mutating func skip() {
        isSkipping = true
        bytes.removeAll(keepingCapacity: true)
        start = 0
        searched = 0
    }
}
