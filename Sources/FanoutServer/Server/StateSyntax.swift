/// What the rules of a channel's state may say: asked by the configuration file's reader, and of programs that embed a
/// server.

import Wire

/// Kinds of events, as rules name them.
enum KindSyntax {
    /// Kinds that one channel's rules may name.
    static let countMax = 1024

    /// Why a text names no kind that an event could have; nil where it does.
    static func complaint(_ kind: String) -> String? {
        if kind.isEmpty { return "must not be empty" }
        return kind.utf8.first == UInt8(ascii: "$") ? "is reserved: kinds that begin with $ are the server's" : nil
    }
}

/// JSON Pointers (RFC 6901).
package enum JSONPointerSyntax {
    /// The longest pointer.
    package static let byteCountMax = 1024

    /// Whether a text points to a member or element of a document, not to the document itself.
    package static func pointsInside(_ text: String) -> Bool {
        guard text.utf8.first == UInt8(ascii: "/"), text.utf8.count <= byteCountMax else { return false }
        var follows = false
        for byte in text.utf8 {
            if follows, byte != UInt8(ascii: "0"), byte != UInt8(ascii: "1") { return false }
            follows = byte == UInt8(ascii: "~")
        }
        return !follows
    }

    /// What to say of a text that is no such pointer.
    package static let advice =
        "a JSON Pointer to a member, such as /id or /container/name (~0 stands for ~ and ~1 for / in a name)"
}

extension Configuration.StateKey {
    /// Why this cannot be a key's place; nil where it can.
    var complaint: String? {
        if !JSONPointerSyntax.pointsInside(pointer) { return "'\(pointer)' is not \(JSONPointerSyntax.advice)" }
        return table?.isEmpty ?? false ? "a table's name must not be empty" : nil
    }
}

extension Configuration.ChannelRules {
    /// Why these state rules and terminal kinds cannot hold; nil where they can. The file's reader finds the same, and
    /// knows the places.
    var stateComplaint: String? {
        var kinds: [String] = []
        if let state {
            kinds = Array(state.upsert.keys) + Array(state.remove.keys) + state.replace + state.snapshot
            guard kinds.count <= KindSyntax.countMax else { return Self.tooManyKinds }
            var seen: Set<String> = []
            for kind in kinds where !seen.insert(kind).inserted { return "'\(kind)' stands in two state rules" }
            for (kind, key) in [state.upsert, state.remove].joined() {
                if let complaint = key.complaint { return "the key of '\(kind)': \(complaint)" }
            }
        }
        guard terminal.count <= KindSyntax.countMax else { return Self.tooManyKinds }
        for kind in kinds + terminal {
            if let complaint = KindSyntax.complaint(kind) { return "the kind '\(kind)' \(complaint)" }
        }
        return nil
    }

    private static let tooManyKinds = "a channel's rules name \(KindSyntax.countMax) kinds at most"
}
