/// The name of one unbroken numbering of events.

/// 64 bits, written as 16 lowercase hex digits. A new one whenever numbers could be used twice.
package struct Epoch: BitwiseCopyable, Hashable, Sendable, CustomStringConvertible {
    /// The digits as a number.
    package let rawValue: UInt64

    /// The epoch with this value; who begins a numbering draws it at random.
    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// An epoch from its 16 digits; nil for anything else.
    package init?(_ text: Span<UInt8>) {
        guard let value = HexText.parse(text) else { return nil }
        rawValue = value
    }

    /// The 16 digits.
    package var description: String {
        var text: [UInt8] = []
        text.append(hex16: rawValue)
        return String(decoding: text, as: UTF8.self)
    }
}
