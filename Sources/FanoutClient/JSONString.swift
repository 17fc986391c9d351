/// Text as JSON writes it, for publishers that put their events together by hand.

import Wire

/// JSON strings.
public enum JSONString {
    /// The text between quotation marks, with what JSON requires escaped. O(length).
    public static func quoted(_ text: String) -> String {
        var bytes: [UInt8] = []
        JSONText.appendQuoted(text, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}
