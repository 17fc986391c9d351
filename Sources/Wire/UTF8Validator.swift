/// UTF-8 that arrives in pieces: a WebSocket text message must be refused at its first impossible byte.

/// The state between two pieces of a text. 3 bytes; starts a new text when made anew.
package struct UTF8Validator: BitwiseCopyable, Sendable {
    /// Bytes missing from the character that has begun.
    private var missing: UInt8 = 0
    /// The bounds of the next byte, while some are missing.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    /// Before the first byte of a text.
    package init() {}

    /// Whether the text so far ends with a whole character.
    package var isComplete: Bool { missing == 0 }

    /// Takes the next piece. False as soon as a byte can belong to no well-formed text; then the validator is of no
    /// more use.
    package mutating func feed(_ piece: Span<UInt8>) -> Bool {
        var index = 0
        while index < piece.count {
            if missing == 0 {
                while piece.count - index >= 8, WordScan.load(piece, index) & WordScan.highs == 0 { index += 8 }
                guard index < piece.count else { return true }
                let byte = piece[index]
                index += 1
                if byte < 0x80 { continue }
                guard let lead = UTF8Check.Lead(byte) else { return false }
                missing = lead.following
                lowest = lead.lowest
                highest = lead.highest
            } else {
                guard lowest...highest ~= piece[index] else { return false }
                index += 1
                missing -= 1
                lowest = 0x80
                highest = 0xBF
            }
        }
        return true
    }
}
