/// Makes one stream of bytes of a server's WebSocket frames, for protocols that run inside of them.

import Glibc

/// What is open of a WebSocket between two reads: the frame that has begun. 144 bytes for each such reader.
struct WebSocketUnwrapper: BitwiseCopyable {
    /// How a call ended.
    enum Outcome: Equatable {
        /// So many bytes of payload now lie at the front; nothing else is left to look at.
        case payload(Int)
        /// A close frame came behind so many bytes of payload.
        case closed(Int)
        /// What no server may send: a mask, a reserved bit or opcode, a text frame, a control frame in fragments.
        case fault
    }

    /// How much of the payload of the frame that has begun is still to come.
    private var frameBytes: UInt32 = 0
    /// What has come of a header that is not whole.
    private var header: InlineArray<10, UInt8> = .init(repeating: 0)
    private var headerBytes: UInt8 = 0
    /// What has come of a control frame's payload.
    private var control: InlineArray<125, UInt8> = .init(repeating: 0)
    private var controlBytes: UInt8 = 0
    /// The opcode of the control frame that has begun; 0 in data frames and between frames.
    private var controlOpcode: UInt8 = 0

    private static let close: UInt8 = 0x8
    private static let ping: UInt8 = 0x9
    private static let pong: UInt8 = 0xA

    /// A WebSocket that has been opened and has brought nothing.
    init() {}

    /// Moves the payloads of all data frames together at the front of `bytes`, which go on where the last call ended.
    /// Appends the answers to pings to `answers`, as whole frames. O(bytes).
    mutating func unwrap(_ bytes: UnsafeMutableBufferPointer<UInt8>, answers: inout [UInt8]) -> Outcome {
        guard let base = bytes.baseAddress else { return .payload(0) }
        var read = 0
        var write = 0
        while read < bytes.count {
            if frameBytes == 0 {
                guard take(bytes[read]) else { return .fault }
                read += 1
            } else if controlOpcode == 0 {
                let count = min(Int(frameBytes), bytes.count - read)
                memmove(base + write, base + read, count)
                write += count
                read += count
                frameBytes -= UInt32(count)
            } else {
                control[Int(controlBytes)] = bytes[read]
                controlBytes += 1
                read += 1
                frameBytes -= 1
            }
            if controlOpcode != 0, frameBytes == 0 {
                if controlOpcode == Self.close { return .closed(write) }
                if controlOpcode == Self.ping {
                    let payload = control.span.extracting(0..<Int(controlBytes))
                    WebSocketDialect.append(opcode: Self.pong, payload, to: &answers)
                }
                controlOpcode = 0
            }
        }
        return .payload(write)
    }

    /// Takes a header's next byte; false if no server may send it. With the last one the frame has begun.
    private mutating func take(_ byte: UInt8) -> Bool {
        header[Int(headerBytes)] = byte
        headerBytes += 1
        if headerBytes == 1 { return isOpcode(byte) }
        // Servers do not mask.
        guard header[1] & 0x80 == 0 else { return false }
        let short = header[1] & 0x7F
        let size = short < 126 ? 2 : short == 126 ? 4 : 10
        guard Int(headerBytes) == size else { return true }
        var length: UInt64 = short < 126 ? UInt64(short) : 0
        for index in 2..<size { length = length << 8 | UInt64(header[index]) }
        headerBytes = 0
        guard header[0] & 0x8 != 0 else {
            frameBytes = UInt32(truncatingIfNeeded: length)
            return length <= BrokerLine.payloadBytesMax
        }
        controlOpcode = header[0] & 0xF
        controlBytes = 0
        frameBytes = UInt32(truncatingIfNeeded: length)
        return length <= 125
    }

    /// Binary frames and their continuations, and whole control frames.
    private func isOpcode(_ byte: UInt8) -> Bool {
        switch byte & 0x7F {
        case 0x0, 0x2: true
        case Self.close, Self.ping, Self.pong: byte & 0x80 != 0
        default: false
        }
    }
}
