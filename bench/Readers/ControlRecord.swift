// The server's own records: objects whose type begins with a dollar sign.

import Glibc

/// What the members of a control record say. Members that a record of its kind does not have stay nil.
struct ControlRecord {
    enum Kind { case hello, gap, bye, ping, other }

    var kind = Kind.other
    var epoch: UInt64?
    var seq: UInt64?
    var from: UInt64?
    var to: UInt64?
    var dropped: UInt64?
    var code: UInt64?
    var last: (epoch: UInt64, seq: UInt64)?

    /// Every control record begins so, on every transport.
    static func begins(_ body: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        count >= 10 && memcmp(body, "{\"type\":\"$", 10) == 0
    }

    /// Reads a record; nil if it is not compact JSON or a member has not the form that the contract gives it.
    init?(_ body: UnsafePointer<UInt8>, _ count: Int) {
        guard StrictJSON.isObject(body, count) else { return nil }
        var text = StrictJSON(body, count)
        guard text.take("{\"type\":"), let name = text.string() else { return nil }
        switch Self.word(body, name) {
        case "$hello": kind = .hello
        case "$gap": kind = .gap
        case "$bye": kind = .bye
        case "$ping": kind = .ping
        default: kind = .other
        }
        while text.take(",") {
            guard let name = text.string(), text.take(":"), member(Self.word(body, name), &text) else { return nil }
        }
        switch kind {
        case .hello: if epoch == nil || seq == nil { return nil }
        case .bye: if code == nil { return nil }
        case .gap: if (from == nil) != (to == nil) { return nil }
        default: break
        }
    }

    private mutating func member(_ name: String, _ text: inout StrictJSON) -> Bool {
        switch name {
        case "epoch":
            guard text.take("\""), let value = text.hex16(), text.take("\"") else { return false }
            epoch = value
        case "seq":
            guard let value = text.unsigned() else { return false }
            seq = value
        case "from":
            guard let value = text.unsigned() else { return false }
            from = value
        case "to":
            guard let value = text.unsigned() else { return false }
            to = value
        case "dropped":
            guard let value = text.unsigned() else { return false }
            dropped = value
        case "code":
            guard let value = text.unsigned() else { return false }
            code = value
        case "last":
            guard text.take("\""), let value = text.cursor(), text.take("\"") else { return false }
            last = value
        default: return text.value(depth: 0)
        }
        return true
    }

    private static func word(_ body: UnsafePointer<UInt8>, _ range: Range<Int>) -> String {
        String(decoding: UnsafeBufferPointer(start: body + range.lowerBound, count: range.count), as: UTF8.self)
    }
}
