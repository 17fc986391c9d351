// A client's WebSocket bytes, against NaiveFrames.

import Wire

/// What came of a client's bytes.
struct WebSocketOutcome: Equatable {
    enum Event: Equatable {
        case message(UInt8, [UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(UInt16?, [UInt8])
    }

    var events: [Event] = []
    /// The close code that the fault asks for.
    var faultCode: UInt16?
    /// Whether the bytes end between two messages.
    var isIdle = true
    /// Payload of the message that has begun and not ended; nothing after a fault, because how much of a broken message
    /// is passed on depends on how it arrived.
    var partial: [UInt8] = []
}

enum WebSocketTarget {
    /// Limits that short inputs reach.
    private static let small: WebSocketLimits = {
        var limits = WebSocketLimits()
        limits.messageBytesMax = 24
        limits.fragmentsMax = 3
        return limits
    }()

    static func judge(_ input: Input) {
        for limits in [WebSocketLimits(), small] {
            let expected = NaiveFrames.read(Array(input), limits)
            for delivery in [.whole] + Delivery.inPieces(input) {
                expectEqual(read(input, delivery, limits), expected, "frames are read differently as \(delivery)")
            }
        }
    }

    private static func read(_ input: Input, _ delivery: Delivery, _ limits: WebSocketLimits) -> WebSocketOutcome {
        var outcome = WebSocketOutcome()
        var decoder = WebSocketDecoder()
        var isInMessage = false
        var start = 0
        for end in delivery.ends(input.count) {
            // A copy of exactly its size: payload is unmasked in place, and what lies around it is guarded.
            let piece = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: end - start)
            defer { piece.deallocate() }
            _ = piece.initialize(from: input[start..<end])
            start = end
            var consumed = 0
            do throws(WebSocketFault) {
                while let event = try decoder.next(piece, consumed: &consumed, limits: limits) {
                    let control = decoder.withControlPayload { Array(bytes: $0) }
                    switch event {
                    case .data(let range, let opcode, let first, let last):
                        expectEqual(first, !isInMessage, "the first piece of a message")
                        expect(range.end <= consumed && (last || !range.isEmpty), "a piece at \(range)")
                        outcome.partial += piece[range.range]
                        isInMessage = !last
                        if last {
                            outcome.events.append(.message(opcode.rawValue, outcome.partial))
                            outcome.partial = []
                        }
                    case .ping: outcome.events.append(.ping(control))
                    case .pong: outcome.events.append(.pong(control))
                    case .close(let code): outcome.events.append(.close(code, control))
                    }
                }
                expectEqual(consumed, piece.count, "nil is said before all is taken")
            } catch {
                expect(error.reason.utf8CodeUnitCount <= 123, "a reason is too long for a close frame")
                outcome.faultCode = error.closeCode
                outcome.partial = []
                let more = try? decoder.next(piece, consumed: &consumed, limits: limits)
                expect(more == nil && consumed == piece.count, "something follows a fault")
                break
            }
        }
        outcome.isIdle = decoder.isIdle
        return outcome
    }
}
