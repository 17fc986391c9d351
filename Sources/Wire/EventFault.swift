/// Why bytes from a producer are not an event.

/// What is wrong with an event, and where. Errors to a producer carry the code, the message and the offset.
package struct EventFault: Error, Equatable, Sendable {
    /// What is wrong; the raw value is the `code` of the error that the producer gets.
    package enum Code: String, CaseIterable, Sendable {
        case invalidJSON = "invalid_json"
        case invalidUTF8 = "invalid_utf8"
        case tooDeep = "too_deep"
        case notAnObject = "not_an_object"
        case tooLarge = "event_too_large"
        case reservedMember = "reserved_member"
        case reservedKind = "reserved_kind"
        case badDiscriminator = "bad_discriminator"
    }

    /// What is wrong.
    package var code: Code
    /// Offset, in the bytes as received, of the byte where it was noticed; the length where bytes are missing at the
    /// end.
    package var offset: Int

    /// A fault with this code, noticed at this byte.
    package init(_ code: Code, at offset: Int) {
        self.code = code
        self.offset = offset
    }

    /// The status that the publish request gets (DESIGN sections 11 and 12).
    package var httpStatus: Int {
        switch code {
        case .invalidJSON, .invalidUTF8, .tooDeep, .notAnObject: 400
        case .tooLarge: 413
        case .reservedMember, .reservedKind, .badDiscriminator: 422
        }
    }

    /// One sentence that says what is wrong and what would be right.
    package var message: StaticString {
        switch code {
        case .invalidJSON: "this is not valid JSON (RFC 8259)"
        case .invalidUTF8: "a string holds bytes that are not valid UTF-8"
        case .tooDeep: "objects and arrays may be nested 128 deep at most"
        case .notAnObject: "an event is one JSON object, {…}; this is another value"
        case .tooLarge: "an event may have 262144 bytes at most"
        case .reservedMember: "this member is put in front by the server; an event may not have it already"
        case .reservedKind: "kinds that begin with $ belong to the server's own records"
        case .badDiscriminator: "the member that names an event's kind must be one string and occur once"
        }
    }
}
