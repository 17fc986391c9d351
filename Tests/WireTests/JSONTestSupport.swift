/// What the tests of Wire's JSON share: running the scanner, an independent checker, and seeded chance.

import Wire

/// SplitMix64: the same numbers for the same seed everywhere.
struct JSONTestRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// What the scanner said about an event.
struct JSONTestEvent: Equatable {
    var text: [UInt8]
    var record: EventRecord

    /// The discriminator's value as it stands in the compacted event.
    var kind: [UInt8]? { record.kind.map { Array(text[$0.range]) } }
}

/// Compacts into memory that ends where the contract says it may, with a canary behind it.
func compactedEvent(
    _ input: [UInt8], rules: EventRules = EventRules()
) throws(EventFault) -> JSONTestEvent {
    let canary: [UInt8] = [
        0xDE, 0xAD, 0xBE, 0xEF, 0xDE, 0xAD, 0xBE, 0xEF, 0xDE, 0xAD, 0xBE, 0xEF, 0xDE, 0xAD, 0xBE, 0xEF,
    ]
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: input.count + canary.count)
    defer { memory.deallocate() }
    memory.initialize(repeating: 0xA5, count: input.count)
    for index in canary.indices { (memory + input.count + index).initialize(to: canary[index]) }
    defer {
        for index in canary.indices {
            precondition(memory[input.count + index] == canary[index], "the scanner wrote beyond its output")
        }
    }
    let record = try JSONScanner.compact(input.span, rules: rules, into: memory)
    return JSONTestEvent(text: Array(UnsafeBufferPointer(start: memory, count: record.length)), record: record)
}

func compactedEvent(_ input: String, rules: EventRules = EventRules()) throws(EventFault) -> JSONTestEvent {
    try compactedEvent(Array(input.utf8), rules: rules)
}

/// The fault of an event; nil if it is accepted.
func faultOfEvent(_ input: String, rules: EventRules = EventRules()) -> EventFault? {
    do throws(EventFault) {
        _ = try compactedEvent(input, rules: rules)
        return nil
    } catch { return error }
}

/// The fault of a JSON text; nil if it is accepted.
func faultOfText(_ input: [UInt8], depthMax: Int = 128) -> EventFault? {
    do throws(EventFault) {
        try JSONScanner.validate(input.span, depthMax: depthMax)
        return nil
    } catch { return error }
}

/// Bytes written as text in which `%NN` stands for a byte.
func hexMarkedBytes(_ text: String) -> [UInt8] {
    var result: [UInt8] = []
    var rest = Substring(text)
    while let found = rest.firstIndex(of: "%") {
        result += rest[..<found].utf8
        let digits = rest[found...].dropFirst().prefix(2)
        result.append(UInt8(digits, radix: 16)!)
        rest = rest[digits.endIndex...]
    }
    return result + rest.utf8
}

/// A naive, recursive, byte-by-byte reader of RFC 8259, written from the grammar and sharing nothing with the scanner.
struct NaiveJSON {
    /// Refused: only whether, not why.
    struct Refused: Error {}

    private let text: [UInt8]
    private var index = 0
    private let depthMax: Int
    /// The text without insignificant white space.
    private(set) var compact: [UInt8] = []

    /// The compacted text, or nil where it is no JSON.
    static func compact(_ text: [UInt8], depthMax: Int = 128) -> [UInt8]? {
        var reader = NaiveJSON(text: text, depthMax: depthMax)
        do {
            try reader.space()
            try reader.value(depth: 0)
            try reader.space()
            return reader.index == text.count ? reader.compact : nil
        } catch { return nil }
    }

    private init(text: [UInt8], depthMax: Int) {
        self.text = text
        self.depthMax = depthMax
    }

    private var byte: UInt8? { index < text.count ? text[index] : nil }

    private mutating func take(_ expected: (UInt8) -> Bool) throws {
        guard let byte, expected(byte) else { throw Refused() }
        compact.append(byte)
        index += 1
    }

    private mutating func take(_ character: Character) throws {
        for unit in character.utf8 { try take { $0 == unit } }
    }

    private mutating func space() throws {
        while let byte, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { index += 1 }
    }

    private mutating func value(depth: Int) throws {
        switch byte.map({ Character(Unicode.Scalar($0)) }) {
        case "{":
            guard depth < depthMax else { throw Refused() }
            try list(open: "{", close: "}") { reader in
                try reader.string()
                try reader.space()
                try reader.take(":")
                try reader.space()
                try reader.value(depth: depth + 1)
            }
        case "[":
            guard depth < depthMax else { throw Refused() }
            try list(open: "[", close: "]") { reader in try reader.value(depth: depth + 1) }
        case "\"": try string()
        case "t": for character in "true" { try take(character) }
        case "f": for character in "false" { try take(character) }
        case "n": for character in "null" { try take(character) }
        default: try number()
        }
    }

    private mutating func list(open: Character, close: Character, _ item: (inout NaiveJSON) throws -> Void) throws {
        try take(open)
        try space()
        if byte == close.asciiValue { return try take(close) }
        while true {
            try item(&self)
            try space()
            if byte == close.asciiValue { return try take(close) }
            try take(",")
            try space()
        }
    }

    private mutating func number() throws {
        if byte == UInt8(ascii: "-") { try take("-") }
        if byte == UInt8(ascii: "0") { try take("0") } else { try digits() }
        if byte == UInt8(ascii: ".") {
            try take(".")
            try digits()
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            try take { _ in true }
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { try take { _ in true } }
            try digits()
        }
    }

    private mutating func digits() throws {
        try take { (0x30...0x39).contains($0) }
        while let byte, (0x30...0x39).contains(byte) { try take { _ in true } }
    }

    private mutating func string() throws {
        let start = compact.count
        try take("\"")
        while byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\") {
                try take("\\")
                if byte == UInt8(ascii: "u") {
                    try take("u")
                    for _ in 0..<4 { try take { Character(Unicode.Scalar($0)).isHexDigit && $0 < 0x80 } }
                } else {
                    try take { "\"\\/bfnrt".utf8.contains($0) }
                }
            } else {
                try take { $0 >= 0x20 }
            }
        }
        try take("\"")
        // The standard library's own decoder decides what UTF-8 is.
        guard String(validating: compact[start...], as: UTF8.self) != nil else { throw Refused() }
    }
}
