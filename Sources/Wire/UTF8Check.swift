/// Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.

/// Checks and repairs whole texts.
package enum UTF8Check {
    /// What must follow a lead byte: how many bytes, and the bounds of the first of them (Unicode table 3-7; the others
    /// are 80...BF).
    struct Lead: BitwiseCopyable {
        var following: UInt8
        var lowest: UInt8
        var highest: UInt8

        /// Nil where `byte` begins no sequence of several bytes.
        @inline(__always)
        init?(_ byte: UInt8) {
            switch byte {
            case 0xC2...0xDF: self.init(1, 0x80, 0xBF)
            case 0xE0: self.init(2, 0xA0, 0xBF)
            case 0xED: self.init(2, 0x80, 0x9F)
            case 0xE1...0xEF: self.init(2, 0x80, 0xBF)
            case 0xF0: self.init(3, 0x90, 0xBF)
            case 0xF1...0xF3: self.init(3, 0x80, 0xBF)
            case 0xF4: self.init(3, 0x80, 0x8F)
            default: return nil
            }
        }

        private init(_ following: UInt8, _ lowest: UInt8, _ highest: UInt8) {
            self.following = following
            self.lowest = lowest
            self.highest = highest
        }
    }

    /// What lies at one place of a text.
    enum Step: Equatable {
        /// A well-formed character of this many bytes.
        case character(Int)
        /// This many bytes (at least 1) that begin no character together with what follows: a maximal subpart.
        case fault(Int)
    }

    /// Looks at the character that begins at `offset`, which is inside of the text.
    @inline(__always)
    static func step(_ text: Span<UInt8>, _ offset: Int) -> Step {
        let first = text[offset]
        if first < 0x80 { return .character(1) }
        guard let lead = Lead(first) else { return .fault(1) }
        guard offset + 1 < text.count, lead.lowest...lead.highest ~= text[offset + 1] else { return .fault(1) }
        var length = 2
        while length <= Int(lead.following) {
            guard offset + length < text.count, 0x80...0xBF ~= text[offset + length] else { return .fault(length) }
            length += 1
        }
        return .character(length)
    }

    /// The length of the well-formed character of several bytes that `word` begins with, its first byte lowest; 0 if
    /// there is none. The same as `step` in fewer instructions: the bits that tell a lead and its continuations, then
    /// those that tell overlong forms, surrogates and what lies above U+10FFFF.
    @inline(__always)
    static func lengthOfCharacter(_ word: UInt32) -> Int {
        if word & 0x0000_C0E0 == 0x0000_80C0 { return word & 0x1E == 0 ? 0 : 2 }
        if word & 0x00C0_C0F0 == 0x0080_80E0 {
            let bounds = word & 0x200F
            return bounds == 0 || bounds == 0x200D ? 0 : 3
        }
        guard word & 0xC0C0_C0F8 == 0x8080_80F0 else { return 0 }
        let plane = (word & 7) << 2 | (word >> 12) & 3
        return 1...16 ~= plane ? 4 : 0
    }

    /// Whether the whole text is well-formed.
    package static func isValid(_ text: Span<UInt8>) -> Bool {
        var validator = UTF8Validator()
        return validator.feed(text) && validator.isComplete
    }

    /// A copy in which each maximal ill-formed part became U+FFFD, as the Unicode standard recommends (and as browsers
    /// and Swift's `String(decoding:)` do). Linear; the result is at most three times as long.
    package static func repair(_ text: Span<UInt8>) -> [UInt8] {
        if isValid(text) { return Array(bytes: text) }
        var repaired: [UInt8] = []
        repaired.reserveCapacity(text.count)
        var offset = 0
        while offset < text.count {
            switch step(text, offset) {
            case .character(let length):
                for index in offset..<offset + length { repaired.append(text[index]) }
                offset += length
            case .fault(let length):
                repaired.append(text: "\u{FFFD}")
                offset += length
            }
        }
        return repaired
    }
}
