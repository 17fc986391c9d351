/// A stretch of one segment that a connection has yet to send.

/// 12 bytes that stand for any number of adjacent frames. Each run that exists holds one reference on its segment.
struct OutboundRun: BitwiseCopyable {
    var segment: UInt32
    var start: UInt32
    var count: UInt32

    /// Offset just after the last byte.
    var end: UInt32 { start + count }
}
