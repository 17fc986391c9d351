/// WebSocket messages as a client reads them (RFC 6455): unfragmented, not masked.

enum WebSocketDialect {
    // The key is the RFC's own example (section 1.3): nothing here depends on its being unguessable.
    static let requestFields = """
        Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r

        """

    /// A frame's header.
    struct Header: Equatable {
        var opcode: UInt8
        /// Where the payload lies.
        var payload: Range<Int>
    }

    static func find(_ bytes: Span<UInt8>) -> Finding {
        switch header(bytes) {
        case .failure(let fault): return .fault(fault.text)
        case .success(nil): return .incomplete
        case .success(let header?):
            let frame = header.payload.upperBound
            switch header.opcode {
            case 1, 2: return .classified(bytes, frame: frame, payload: header.payload)
            case 8: return .end(frame: frame)
            case 9: return .reply(frame: frame)
            default: return .skip(frame: frame)
            }
        }
    }

    /// The header of the frame at the front, once the whole frame has come.
    static func header(_ bytes: Span<UInt8>) -> Result<Header?, FrameFault> {
        guard bytes.count >= 2 else { return .success(nil) }
        let opcode = bytes[0] & 15
        guard bytes[0] & 0x70 == 0 else { return .failure(FrameFault("a frame with a reserved bit set")) }
        guard bytes[0] & 0x80 != 0, opcode != 0 else { return .failure(FrameFault("a message in fragments")) }
        guard opcode <= 2 || (8...10).contains(opcode) else { return .failure(FrameFault("opcode \(opcode)")) }
        guard bytes[1] & 0x80 == 0 else { return .failure(FrameFault("a frame that is masked")) }
        let short = Int(bytes[1])
        let sizeBytes = short < 126 ? 0 : short == 126 ? 2 : 8
        guard bytes.count >= 2 + sizeBytes else { return .success(nil) }
        var size = UInt64(short)
        if sizeBytes > 0 {
            size = 0
            for index in 2..<(2 + sizeBytes) { size = size << 8 | UInt64(bytes[index]) }
        }
        guard size <= UInt64(frameBytesMax - 16) else { return .failure(FrameFault("a frame of \(size) bytes")) }
        let start = 2 + sizeBytes
        let end = start + Int(size)
        return .success(bytes.count >= end ? Header(opcode: opcode, payload: start..<end) : nil)
    }

    /// Answers a ping with its payload.
    static func appendPong(to frame: Span<UInt8>, into output: inout [UInt8]) {
        guard case .success(let header?) = header(frame) else { return }
        append(opcode: 10, frame.extracting(header.payload), to: &output)
    }

    /// Appends a frame, masked as a client's must be. The mask is fixed: it protects proxies, and none is measured.
    static func append(opcode: UInt8, _ payload: Span<UInt8>, to output: inout [UInt8]) {
        let mask: InlineArray<4, UInt8> = [0x5A, 0xC3, 0x17, 0x88]
        output.append(0x80 | opcode)
        if payload.count < 126 {
            output.append(0x80 | UInt8(payload.count))
        } else if payload.count < 65_536 {
            output += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        } else {
            output.append(0x80 | 127)
            for shift in stride(from: 56, through: 0, by: -8) {
                output.append(UInt8(truncatingIfNeeded: payload.count >> shift))
            }
        }
        for index in mask.indices { output.append(mask[index]) }
        for index in payload.indices { output.append(payload[index] ^ mask[index & 3]) }
    }
}

/// Why a frame cannot be read.
struct FrameFault: Error, Equatable {
    let text: String
    init(_ text: String) { self.text = text }
}
