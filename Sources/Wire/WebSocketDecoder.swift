// What clients send over a WebSocket, frame by frame.

import Planted

/// Takes a client's frames apart (RFC 6455 section 5), strictly, in place and at any split of the input.
///
/// A pull parser: call `next` until it returns nil. Everything that the RFC lets a server refuse is refused with the
/// byte that shows it, before any payload of the frame is passed on; text is checked as it arrives. Payload is unmasked
/// where it lies and given as ranges, so a message of any size needs no buffer; only a control frame's payload (125
/// bytes at most) is gathered here. That makes a decoder about 180 bytes; while `isIdle` is true it is worth no more
/// than a new one.
package struct WebSocketDecoder: BitwiseCopyable, Sendable {
    private enum Place: UInt8 {
        case opcode, shortLength, length16, length64, mask, payload
        /// A close frame or a fault has been reported; the rest is swallowed.
        case over
    }

    /// What is left of the frame's payload, and while its length is read, the length so far.
    private var payloadBytes: UInt64 = 0
    private var messageBytes: UInt64 = 0
    private var fragments: UInt32 = 0
    /// The mask, its lowest byte the next to use.
    private var mask: UInt32 = 0
    private var validator = UTF8Validator()
    private var place = Place.opcode
    /// Bytes of the length or of the mask read so far.
    private var partial: UInt8 = 0
    private var frameOpcode = WebSocketOpcode.continuation
    private var frameIsFinal = false
    /// The opcode of the message that has begun and not ended; `.continuation` where there is none.
    private var message = WebSocketOpcode.continuation
    /// True exactly when no piece of the message has been passed on.
    private var pieceIsFirst = true
    private var controlBytes: UInt8 = 0
    private var control: InlineArray<125, UInt8> = .init(repeating: 0)

    package init() {}

    /// True exactly when nothing is half-read, neither a frame nor a message: the decoder may be thrown away and a new
    /// one used.
    package var isIdle: Bool { place == .opcode && message == .continuation }

    /// Goes on at `input[consumed]` and moves `consumed` behind what it has taken; nil when everything is taken.
    ///
    /// Payload bytes in `input` are unmasked in place. After a fault or a close frame all further input is taken and
    /// ignored.
    package mutating func next(
        _ input: UnsafeMutableBufferPointer<UInt8>, consumed: inout Int, limits: WebSocketLimits
    ) throws(WebSocketFault) -> WebSocketEvent? {
        do throws(WebSocketFault) {
            while true {
                if place == .payload, let event = try payload(input, &consumed) { return event }
                guard consumed < input.count else { return nil }
                if place == .over {
                    consumed = input.count
                    return nil
                }
                if place != .payload {
                    let byte = input[consumed]
                    consumed += 1
                    try header(byte, limits: limits)
                }
            }
        } catch {
            place = .over
            throw error
        }
    }

    /// Lends the payload of the ping or pong just reported, or the reason of the close frame; until the next call of
    /// `next`.
    package func withControlPayload<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        let skipped = frameOpcode == .close ? min(2, Int(controlBytes)) : 0
        return body(control.span.extracting(skipped..<Int(controlBytes)))
    }

    // MARK: Header

    private mutating func header(_ byte: UInt8, limits: WebSocketLimits) throws(WebSocketFault) {
        switch place {
        case .opcode: try opcode(byte, limits: limits)
        case .shortLength: try shortLength(byte, limits: limits)
        case .length16, .length64: try longLength(byte, limits: limits)
        case .mask: maskByte(byte)
        case .payload, .over: break
        }
    }

    private mutating func opcode(_ byte: UInt8, limits: WebSocketLimits) throws(WebSocketFault) {
        guard byte & 0x70 == 0 else { throw .broken("a reserved bit is set; no extension was agreed") }
        guard let opcode = WebSocketOpcode(rawValue: byte & 0x0F) else { throw .broken("a reserved opcode") }
        frameOpcode = opcode
        frameIsFinal = byte & 0x80 != 0
        switch opcode {
        case .close, .ping, .pong:
            guard frameIsFinal else { throw .broken("a control frame is fragmented") }
        case .text, .binary:
            guard message == .continuation else { throw .broken("a new message begins inside a fragmented one") }
            message = opcode
            messageBytes = 0
            fragments = 0
            pieceIsFirst = true
            validator = UTF8Validator()
        case .continuation:
            guard message != .continuation else { throw .broken("a continuation frame continues nothing") }
        }
        if !isControl {
            guard Int(fragments) < limits.fragmentsMax else { throw .tooManyFragments }
            fragments += 1
        }
        place = .shortLength
    }

    private mutating func shortLength(_ byte: UInt8, limits: WebSocketLimits) throws(WebSocketFault) {
        guard byte & 0x80 != 0 || isPlanted("unmaskedFrameAccepted") else {
            throw .broken("a client's frame is not masked")
        }
        let length = byte & 0x7F
        partial = 0
        payloadBytes = 0
        if isControl {
            guard length <= 125 else { throw .broken("a control frame is longer than 125 bytes") }
            guard frameOpcode != .close || length != 1 else { throw .broken("a close frame has half a code") }
        }
        switch length {
        case 126: place = .length16
        case 127: place = .length64
        default:
            payloadBytes = UInt64(length)
            try lengthIsKnown(limits)
        }
    }

    private mutating func longLength(_ byte: UInt8, limits: WebSocketLimits) throws(WebSocketFault) {
        guard partial > 0 || place == .length16 || byte & 0x80 == 0 else {
            throw .broken("a frame's length has its top bit set")
        }
        payloadBytes = payloadBytes << 8 | UInt64(byte)
        partial += 1
        guard partial == (place == .length16 ? 2 : 8) else { return }
        guard payloadBytes > (place == .length16 ? 125 : 65_535) else {
            throw .broken("a frame's length is not written in the shortest form")
        }
        partial = 0
        try lengthIsKnown(limits)
    }

    private mutating func lengthIsKnown(_ limits: WebSocketLimits) throws(WebSocketFault) {
        if isControl {
            controlBytes = 0
        } else {
            // Below 2^63 each, so the sum cannot overflow.
            messageBytes = payloadBytes + (isPlanted("fragmentsNotCounted") ? 0 : messageBytes)
            guard messageBytes <= UInt64(max(0, limits.messageBytesMax)) else { throw .tooBig }
        }
        mask = 0
        place = .mask
    }

    private mutating func maskByte(_ byte: UInt8) {
        mask |= UInt32(byte) << UInt32(8 * partial)
        partial += 1
        if partial == 4 { place = .payload }
    }

    private var isControl: Bool { frameOpcode.rawValue >= WebSocketOpcode.close.rawValue }

    // MARK: Payload

    /// Takes what `input` has of the frame's payload. Nil when that made nothing to report.
    private mutating func payload(
        _ input: UnsafeMutableBufferPointer<UInt8>, _ consumed: inout Int
    ) throws(WebSocketFault) -> WebSocketEvent? {
        // At most 1 GiB at a time so that a range fits, whatever the input is.
        let count = Int(min(payloadBytes, UInt64(min(input.count - consumed, 1 << 30))))
        let start = consumed
        let piece = UnsafeMutableBufferPointer(rebasing: input[start..<(start + count)])
        if !isPlanted("maskIgnored") { mask = WebSocketMask.remove(mask, from: piece) }
        consumed += count
        payloadBytes -= UInt64(count)
        let frameEnds = payloadBytes == 0
        if isControl {
            for index in 0..<count { control[Int(controlBytes) + index] = piece[index] }
            controlBytes += UInt8(count)
            if !frameEnds { return nil }
            place = .opcode
            return try controlEvent()
        }
        if message == .text {
            guard validator.feed(UnsafeBufferPointer(piece).span) else { throw .notUTF8 }
        }
        if frameEnds { place = .opcode }
        let last = frameEnds && frameIsFinal
        if last, message == .text, !validator.isComplete { throw .notUTF8 }
        if count == 0, !last { return nil }
        let range = ASCII.range(start, start + count)
        let event = WebSocketEvent.data(range, opcode: message, first: pieceIsFirst, last: last)
        pieceIsFirst = false
        if last { message = .continuation }
        return event
    }

    private mutating func controlEvent() throws(WebSocketFault) -> WebSocketEvent {
        if frameOpcode == .ping { return .ping }
        if frameOpcode == .pong { return .pong }
        place = .over
        guard controlBytes >= 2 else { return .close(code: nil) }
        let code = UInt16(control[0]) << 8 | UInt16(control[1])
        guard WebSocketCloseCode.mayBeSent(code) else { throw .broken("a close code that may not be sent") }
        var reason = UTF8Validator()
        guard reason.feed(control.span.extracting(2..<Int(controlBytes))), reason.isComplete else { throw .notUTF8 }
        return .close(code: code)
    }
}
