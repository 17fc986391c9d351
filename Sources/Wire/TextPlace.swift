/// Where a byte stands in a text file, as editors count.

/// A line and a column, both from 1. Columns count characters (Unicode scalars), not bytes.
package struct TextPlace: Equatable, Sendable, CustomStringConvertible {
    package let line: Int
    package let column: Int

    /// The place of the byte at `offset`; an offset at or beyond the end is the place after the last byte.
    package init(of offset: Int, in text: Span<UInt8>) {
        var line = 1
        var column = 1
        for index in 0..<max(0, min(offset, text.count)) {
            if text[index] == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if text[index] & 0xC0 != 0x80 {
                column += 1
            }
        }
        self.line = line
        self.column = column
    }

    /// `line:column`.
    package var description: String { "\(line):\(column)" }
}
