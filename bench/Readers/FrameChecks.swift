// WebSocket frames from a server (RFC 6455, section 5): unmasked, whole, of the least length form.

import ClientSockets
import Glibc

/// A frame's header.
private struct FrameHeader {
    var opcode: UInt8
    var payload: Int
    var bytes: Int
}

extension Checker {
    /// Takes whole frames; how many bytes they were.
    func takeFrames(_ index: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        let reader = readers + index
        var at = 0
        while at < count {
            let header: FrameHeader
            do throws(DeliveryFault) {
                guard let read = try readHeader(bytes + at, count - at) else { return at }
                header = read
            } catch {
                drop(index, "\(error.text): \(excerpt(bytes + at, count - at))")
                return at
            }
            guard count - at >= header.bytes + header.payload else { return at }
            let payload = bytes + at + header.bytes
            at += header.bytes + header.payload
            if header.opcode == 1, let page = nextPage(reader), Int(page.pointee.bodyCount) == header.payload {
                let body = book.frame(Int(reader.pointee.nextEvent)) + Int(page.pointee.bodyOffset)
                if memcmp(payload, body, header.payload) == 0 {
                    accept(index, page)
                    continue
                }
            }
            takeFrame(index, header.opcode, payload, header.payload)
            guard reader.pointee.isLive else { return at }
        }
        return at
    }

    private func readHeader(_ bytes: UnsafePointer<UInt8>, _ count: Int) throws(DeliveryFault) -> FrameHeader? {
        guard count >= 2 else { return nil }
        guard bytes[0] & 0x80 != 0 else { throw DeliveryFault("a fragment") }
        guard bytes[0] & 0x70 == 0 else { throw DeliveryFault("a reserved bit is set") }
        guard bytes[1] & 0x80 == 0 else { throw DeliveryFault("a masked frame") }
        let opcode = bytes[0] & 15
        let short = Int(bytes[1])
        guard opcode == 1 || (opcode >= 8 && opcode <= 10) else { throw DeliveryFault("opcode \(opcode)") }
        if opcode >= 8, short > 125 { throw DeliveryFault("a control frame of over 125 bytes") }
        if short < 126 { return FrameHeader(opcode: opcode, payload: short, bytes: 2) }
        let size = short == 126 ? 2 : 8
        guard count >= 2 + size else { return nil }
        var length: UInt64 = 0
        for place in 0..<size { length = length << 8 | UInt64(bytes[2 + place]) }
        guard length >= (size == 2 ? 126 : 65_536) else { throw DeliveryFault("not the least form of a length") }
        guard length <= 1 << 20 else { throw DeliveryFault("a frame of \(length) bytes") }
        return FrameHeader(opcode: opcode, payload: Int(length), bytes: 2 + size)
    }

    private func takeFrame(_ index: Int, _ opcode: UInt8, _ payload: UnsafePointer<UInt8>, _ count: Int) {
        if readers[index].closeSeen { fault(index, "a frame after the close frame") }
        switch opcode {
        case 1: takeObject(index, payload, count)
        case 9: answer(index, 10, payload, count)
        case 8:
            readers[index].closeSeen = true
            let code = count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : 0
            if stage == .stopping ? code != 1001 : !options.allowGaps {
                fault(index, "a close frame with code \(code); \(standing(index))")
            } else if !readers[index].byeSeen {
                fault(index, "a close frame without $bye")
            }
            answer(index, 8, payload, count)
        default: break  // A pong that nobody asked for is legal (section 5.5.3).
        }
    }

    /// Sends a control frame, masked as a client's must be.
    private func answer(_ index: Int, _ opcode: UInt8, _ payload: UnsafePointer<UInt8>, _ count: Int) {
        let mask: [UInt8] = [0x5A, 0xC3, 0x17, 0x88]
        var frame: [UInt8] = [0x80 | opcode, 0x80 | UInt8(count)] + mask
        for place in 0..<count { frame.append(payload[place] ^ mask[place & 3]) }
        if send(readers[index].descriptor, frame, frame.count, 0) != frame.count {
            fault(index, "a control frame could not be answered: \(errorText(errno))")
        }
    }
}
