/// What a publisher checks of an event before it goes out.

import Wire

/// An event as it may be put on one line, and inside of an envelope. Without the check a line such as
/// `{"a":1},"channel":"x"` could change the envelope around it.
public enum EventText {
    /// The largest event that servers take, in bytes.
    public static let eventBytesMax = 262_144
    /// The longest idempotency key, in bytes.
    public static let keyBytesMax = 255

    /// The codes of errors that are the event's own fault.
    public static let faultCodes = Set(EventFault.Code.allCases.map(\.rawValue)).union(["schema"])

    /// The event with blanks for the line ends between its parts.
    /// - Throws: `invalidInput` where it is not one JSON object of at most `eventBytesMax` bytes.
    public static func singleLine(_ event: [UInt8]) throws(ClientError) -> [UInt8] {
        guard event.count <= eventBytesMax else {
            throw fault(.tooLarge, "\(event.count) bytes, and an event has at most \(eventBytesMax)")
        }
        do throws(EventFault) {
            try JSONScanner.validate(event.span, depthMax: EventRules().depthMax)
        } catch {
            throw fault(error.code, "\(error.message), at byte \(error.offset + 1). \(advice)")
        }
        let first = event.first { !isSpace($0) }
        guard first == UInt8(ascii: "{") else {
            throw fault(.notAnObject, advice)
        }
        // In a valid text line ends are white space: inside of strings they are escaped.
        guard event.contains(where: isLineEnd) else { return event }
        return event.map { isLineEnd($0) ? UInt8(ascii: " ") : $0 }
    }

    /// Throws `invalidInput` where a key is empty, too long, or not printable ASCII without blanks.
    public static func check(key: String) throws(ClientError) {
        guard (1...keyBytesMax).contains(key.utf8.count), key.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ClientError(
                .invalidInput, "the key has to have 1 to \(keyBytesMax) printable ASCII characters without blanks")
        }
    }

    private static let advice = #"An event is a JSON object, such as {"type":"hello"}."#

    private static func fault(_ code: EventFault.Code, _ text: String) -> ClientError {
        ClientError(.invalidInput, "\(code.rawValue): \(text)")
    }

    private static func isLineEnd(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || isLineEnd(byte) }
}
