/// The forms in which a subscriber gets its events.

/// One chain of encoded bytes is kept for each form in use; the raw values index them.
package enum WireFormat: UInt8, CaseIterable, Sendable {
    /// One object per line.
    case jsonl = 0
    /// `text/event-stream`.
    case sse = 1
    /// One text frame per event.
    case webSocket = 2
}
