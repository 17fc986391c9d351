/// One event about this host, and the text it is made of.

import Wire

/// An event ready to be published: one JSON object without line breaks, and the channel it belongs to.
package struct HostEvent: Sendable {
    /// `host/cpu`, `host/memory`, `host/network`, `host/disk` or `host/process`.
    package let channel: String
    /// The object's bytes, compact, in UTF-8; its first member is `type`.
    package let json: [UInt8]
}

/// Builds one event member by member. Names are plain identifiers that need no escaping; a unit ends a name:
/// `_bytes`, `_percent`, `_s`, `_per_s`.
struct EventText {
    private let channel: String
    private var json: [UInt8] = []

    init(_ channel: String, _ type: StaticString) {
        self.channel = channel
        json.append(text: "{\"type\":\"")
        json.append(text: type)
        json.append(UInt8(ascii: "\""))
    }

    mutating func add(_ name: StaticString, _ value: UInt64) {
        begin(name)
        json.append(decimal: value)
    }

    /// One digit after the point.
    mutating func add(_ name: StaticString, tenths value: Double) {
        begin(name)
        append(fixed: value, decimals: 1)
    }

    /// Two digits after the point.
    mutating func add(_ name: StaticString, hundredths value: Double) {
        begin(name)
        append(fixed: value, decimals: 2)
    }

    /// An array of numbers with this many digits after the point, 1 or 2.
    mutating func add(_ name: StaticString, _ values: [Double], decimals: Int) {
        begin(name)
        json.append(UInt8(ascii: "["))
        for (index, value) in values.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            append(fixed: value, decimals: decimals)
        }
        json.append(UInt8(ascii: "]"))
    }

    /// Text from outside: bytes that are no UTF-8 become U+FFFD, and what JSON forbids is escaped.
    mutating func add(_ name: StaticString, text: [UInt8]) {
        begin(name)
        json.append(UInt8(ascii: "\""))
        let repaired = UTF8Check.repair(text.span)
        JSONText.appendEscaped(repaired.span, to: &json)
        json.append(UInt8(ascii: "\""))
    }

    consuming func finished() -> HostEvent {
        json.append(UInt8(ascii: "}"))
        return HostEvent(channel: channel, json: json)
    }

    private mutating func begin(_ name: StaticString) {
        json.append(text: ",\"")
        json.append(text: name)
        json.append(text: "\":")
    }

    private mutating func append(fixed value: Double, decimals: Int) {
        let unit: UInt64 = decimals == 1 ? 10 : 100
        let scaled = wholeNumber((value * Double(unit)).rounded())
        json.append(decimal: scaled / unit)
        json.append(UInt8(ascii: "."))
        if decimals == 2 { json.append(decimal: scaled % unit / 10) }
        json.append(decimal: scaled % 10)
    }
}

/// `value` as a whole number; what no counter can be (negative, not finite, beyond 2^53) becomes 0 or 2^53.
func wholeNumber(_ value: Double) -> UInt64 {
    guard value > 0 else { return 0 }
    return value < 9_007_199_254_740_992 ? UInt64(value) : 9_007_199_254_740_992
}

/// A counter's growth since it was last read. A counter that went backwards began anew: no growth.
func growth(of counter: UInt64, since before: UInt64) -> UInt64 {
    counter > before ? counter - before : 0
}

/// `part` of `whole` in percent, 0 to 100.
func percent(_ part: UInt64, of whole: UInt64) -> Double {
    whole == 0 ? 0 : min(100, 100 * Double(part) / Double(whole))
}

/// A counter's growth per second over `milliseconds` (more than 0).
func perSecond(_ counter: UInt64, since before: UInt64, over milliseconds: UInt64) -> Double {
    1000 * Double(growth(of: counter, since: before)) / Double(milliseconds)
}
