/// A client's side of WebSocket, written from RFC 6455 alone, and a reader that collects what the decoder says.

@testable import Wire

/// Builds frames as clients send them, and on request as they must not.
enum ClientFrame {
    static let mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]

    /// A masked frame. `lengthForm` 7, 16 or 64 bits; the shortest that fits where it is nil.
    static func make(
        _ opcode: UInt8, _ payload: [UInt8] = [], final: Bool = true, reserved: UInt8 = 0, lengthForm: Int? = nil
    ) -> [UInt8] {
        let form = lengthForm ?? (payload.count < 126 ? 7 : payload.count < 65_536 ? 16 : 64)
        var bytes: [UInt8] = [(final ? 0x80 : 0) | reserved << 4 | opcode]
        switch form {
        case 7: bytes.append(0x80 | UInt8(payload.count))
        case 16: bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [0x80 | 127] + (0..<8).reversed().map { UInt8(truncatingIfNeeded: payload.count >> ($0 * 8)) }
        }
        bytes += mask
        for (index, byte) in payload.enumerated() { bytes.append(byte ^ mask[index % 4]) }
        return bytes
    }

    static func text(_ text: String, final: Bool = true) -> [UInt8] { make(1, Array(text.utf8), final: final) }
    static func more(_ text: String, final: Bool = true) -> [UInt8] { make(0, Array(text.utf8), final: final) }
    static func close(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
        make(8, [UInt8(code >> 8), UInt8(code & 255)] + reason)
    }
}

/// What came of a client's bytes.
struct WebSocketOutcome: Equatable {
    enum Event: Equatable {
        case message(UInt8, [UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(UInt16?, [UInt8])
    }

    var events: [Event] = []
    var fault: WebSocketFault?
    var isIdle = true
    /// Payload of the unfinished message that has been passed on.
    var partial: [UInt8] = []

    /// Feeds `bytes` to a new decoder in pieces.
    static func read(_ bytes: [UInt8], pieces: [Int], limits: WebSocketLimits = WebSocketLimits()) -> WebSocketOutcome {
        var outcome = WebSocketOutcome()
        var decoder = WebSocketDecoder()
        var offset = 0
        for piece in pieces {
            var part = Array(bytes[offset..<(offset + piece)])
            offset += piece
            part.withUnsafeMutableBufferPointer { outcome.take($0, &decoder, limits) }
            if outcome.fault != nil { break }
        }
        outcome.isIdle = decoder.isIdle
        return outcome
    }

    private mutating func take(
        _ part: UnsafeMutableBufferPointer<UInt8>, _ decoder: inout WebSocketDecoder, _ limits: WebSocketLimits
    ) {
        var consumed = 0
        do throws(WebSocketFault) {
            while let event = try decoder.next(part, consumed: &consumed, limits: limits) {
                let control = decoder.withControlPayload { Array(bytes: $0) }
                switch event {
                case .data(let range, let opcode, let first, let last):
                    precondition(first == partial.isEmpty, "the first piece is the first, and only a last one is empty")
                    partial += part[range.range]
                    if last {
                        events.append(.message(opcode.rawValue, partial))
                        partial = []
                    }
                case .ping: events.append(.ping(control))
                case .pong: events.append(.pong(control))
                case .close(let code): events.append(.close(code, control))
                }
            }
            precondition(consumed == part.count, "nil means that everything was taken")
        } catch {
            fault = error
            // How much of a broken message had been passed on depends on how it arrived.
            partial = []
        }
    }
}
