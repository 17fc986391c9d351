// One publisher's connection: its thread reads lines and publishes each.

import Glibc
import Wire

/// A connection to the ingest socket. A line that is no event is skipped; a line that is too long ends it.
struct Publisher: Sendable {
    private static let inputBytes = 512 * 1024

    private let hub: Hub
    private let socket: Int32

    init(_ hub: Hub, _ socket: Int32) {
        self.hub = hub
        self.socket = socket
    }

    /// The thread's work.
    func run() {
        let input = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: Self.inputBytes)
        defer {
            input.deallocate()
            close(socket)
        }
        var filled = 0
        while let base = input.baseAddress, filled < input.count {
            let count = recv(socket, base + filled, input.count - filled, 0)
            if count <= 0 { return }
            filled += count
            let used = publishLines(UnsafeBufferPointer(start: base, count: filled))
            filled -= used
            memmove(base, base + used, filled)
        }
    }

    /// Publishes the whole lines and returns how many bytes they were.
    private func publishLines(_ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        let bytes = bytes.span
        var start = 0
        var searched = 0
        while case .line(let line, let next) = LineFramer.next(
            bytes, from: start, searched: &searched, lineBytesMax: Self.inputBytes)
        {
            let text = bytes.extracting(Int(line.start)..<Int(line.end))
            try? hub.publish(text)
            start = next
        }
        return start
    }
}
