// Reads a client's WebSocket frames from RFC 6455 section 5, byte by byte and without any state but its place.

import Wire

struct NaiveFrames {
    /// Why reading stops.
    private enum Stop: Error {
        case noMoreBytes
        case fault(UInt16)
    }

    private let bytes: [UInt8]
    private let limits: WebSocketLimits
    private var at = 0
    private var outcome = WebSocketOutcome()
    /// The opcode of the message that has begun, its frames and its length as said so far.
    private var message: (opcode: UInt8, frames: Int, count: Int)?

    static func read(_ bytes: [UInt8], _ limits: WebSocketLimits) -> WebSocketOutcome {
        var reader = NaiveFrames(bytes: bytes, limits: limits)
        reader.outcome.isIdle = true
        do throws(Stop) {
            while try reader.frame() {}
            reader.outcome.isIdle = false
        } catch {
            switch error {
            case .noMoreBytes: reader.outcome.isIdle = reader.isBetweenFrames && reader.message == nil
            case .fault(let code):
                reader.outcome.faultCode = code
                reader.outcome.partial = []
                reader.outcome.isIdle = false
            }
        }
        return reader.outcome
    }

    private var isBetweenFrames = true

    private init(bytes: [UInt8], limits: WebSocketLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    private mutating func take() throws(Stop) -> UInt8 {
        guard at < bytes.count else { throw .noMoreBytes }
        at += 1
        return bytes[at - 1]
    }

    /// Reads one frame; false after a close frame.
    private mutating func frame() throws(Stop) -> Bool {
        isBetweenFrames = true
        let first = try take()
        isBetweenFrames = false
        let opcode = first & 0x0F
        let isFinal = first >= 0x80
        guard first & 0x70 == 0, [0, 1, 2, 8, 9, 10].contains(opcode) else { throw .fault(1002) }
        if opcode >= 8 {
            guard isFinal else { throw .fault(1002) }
        } else {
            guard (opcode == 0) == (message != nil) else { throw .fault(1002) }
            message = message ?? (opcode, 0, 0)
            guard (message?.frames ?? 0) < limits.fragmentsMax else { throw .fault(1008) }
            message?.frames += 1
        }
        let count = try length(isControl: opcode >= 8, isClose: opcode == 8)
        if opcode < 8 {
            guard count <= UInt64(limits.messageBytesMax - (message?.count ?? 0)) else { throw .fault(1009) }
            message?.count += Int(count)
        }
        var mask: [UInt8] = []
        for _ in 0..<4 { mask.append(try take()) }
        if opcode >= 8 {
            var payload: [UInt8] = []
            for index in 0..<Int(count) { payload.append(try take() ^ mask[index % 4]) }
            return try control(opcode, payload)
        }
        try data(Int(count), mask, isFinal: isFinal)
        return true
    }

    private mutating func length(isControl: Bool, isClose: Bool) throws(Stop) -> UInt64 {
        let byte = try take()
        guard byte >= 0x80 else { throw .fault(1002) }
        let short = byte & 0x7F
        if isControl, short > 125 || (isClose && short == 1) { throw .fault(1002) }
        if short < 126 { return UInt64(short) }
        var length: UInt64 = 0
        for index in 0..<(short == 126 ? 2 : 8) {
            let byte = try take()
            if short == 127, index == 0, byte >= 0x80 { throw .fault(1002) }
            length = length * 256 + UInt64(byte)
        }
        guard length >= (short == 126 ? 126 : 65_536) else { throw .fault(1002) }
        return length
    }

    private mutating func control(_ opcode: UInt8, _ payload: [UInt8]) throws(Stop) -> Bool {
        if opcode == 9 { outcome.events.append(.ping(payload)) }
        if opcode == 10 { outcome.events.append(.pong(payload)) }
        if opcode != 8 { return true }
        guard payload.count >= 2 else {
            outcome.events.append(.close(nil, []))
            return false
        }
        let code = UInt16(payload[0]) * 256 + UInt16(payload[1])
        let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014].contains(code)
        guard good || (3000...4999).contains(code) else { throw .fault(1002) }
        let reason = Array(payload.dropFirst(2))
        guard NaiveText.isUTF8(reason) else { throw .fault(1007) }
        outcome.events.append(.close(code, reason))
        return false
    }

    /// The payload of a data frame, as much of it as there is.
    private mutating func data(_ count: Int, _ mask: [UInt8], isFinal: Bool) throws(Stop) {
        let present = min(count, bytes.count - at)
        for index in 0..<present { outcome.partial.append(bytes[at + index] ^ mask[index % 4]) }
        at += present
        let isText = message?.opcode == 1
        if isText, !NaiveText.mayBeginUTF8(outcome.partial) { throw .fault(1007) }
        guard present == count else { throw .noMoreBytes }
        guard isFinal, let opcode = message?.opcode else { return }
        if isText, !NaiveText.isUTF8(outcome.partial) { throw .fault(1007) }
        outcome.events.append(.message(opcode, outcome.partial))
        outcome.partial = []
        message = nil
    }
}
