/// A place in the server's order of events.

/// `<epoch>-<seq>`: the id of an SSE event and the resume token everywhere. 18 to 37 bytes.
package struct Cursor: BitwiseCopyable, Hashable, Sendable, CustomStringConvertible {
    /// The longest cursor.
    package static let byteCountMax = HexText.byteCount + 1 + DecimalText.byteCountMax

    /// The numbering.
    package let epoch: Epoch
    /// The number in it; 0 is the place before the first event.
    package let seq: UInt64

    /// The place of event `seq` of `epoch`.
    package init(epoch: Epoch, seq: UInt64) {
        self.epoch = epoch
        self.seq = seq
    }

    /// A cursor from its text: exactly 16 lowercase hex digits, `-`, and 1 to 20 digits without leading zeros that fit
    /// 64 bits; nil for anything else, so that each place has one spelling.
    package init?(_ text: Span<UInt8>) {
        guard text.count > HexText.byteCount + 1, text[HexText.byteCount] == UInt8(ascii: "-"),
            let epoch = Epoch(text.extracting(..<HexText.byteCount)),
            let seq = DecimalText.parse(text.extracting((HexText.byteCount + 1)...))
        else { return nil }
        self.init(epoch: epoch, seq: seq)
    }

    /// A cursor from text; nil where it is none.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        self.init(bytes.span)
    }

    /// How many bytes the text has.
    package var byteCount: Int { HexText.byteCount + 1 + DecimalText.byteCount(seq) }

    /// Writes the text, `byteCount` bytes, and returns their number.
    @discardableResult
    package func write(into output: UnsafeMutablePointer<UInt8>) -> Int {
        HexText.write(epoch.rawValue, into: output)
        output[HexText.byteCount] = UInt8(ascii: "-")
        return HexText.byteCount + 1 + DecimalText.write(seq, into: output + HexText.byteCount + 1)
    }

    /// Appends the text.
    package func append(to output: inout [UInt8]) {
        output.append(hex16: epoch.rawValue)
        output.append(UInt8(ascii: "-"))
        output.append(decimal: seq)
    }

    package var description: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }
}
