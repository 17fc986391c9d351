/// Small helpers over bytes for the clients of the simulation, which share no code with the server.

import Glibc

/// What a client objects to: bytes that are not what the specification says.
struct Malformed: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Bytes that have come in, read from the front.
struct Incoming {
    private var bytes: [UInt8] = []
    private var head = 0

    var count: Int { bytes.count - head }
    var isEmpty: Bool { count == 0 }

    subscript(offset: Int) -> UInt8 { bytes[head + offset] }

    mutating func append(_ more: [UInt8]) {
        if head > 0, head == bytes.count {
            bytes.removeAll(keepingCapacity: true)
            head = 0
        }
        bytes += more
    }

    /// The offset of the first `byte` at or after `offset`.
    func first(_ byte: UInt8, from offset: Int = 0) -> Int? {
        bytes.withUnsafeBytes { buffer in
            guard head + offset < buffer.count, let base = buffer.baseAddress else { return nil }
            let start = base + head + offset
            guard let found = memchr(start, Int32(byte), buffer.count - head - offset) else { return nil }
            return offset + (UnsafeRawPointer(found) - start)
        }
    }

    /// Takes the first bytes out.
    mutating func take(_ count: Int) -> [UInt8] {
        let taken = Array(bytes[head..<head + count])
        head += count
        if head > 65_536 {
            bytes.removeFirst(head)
            head = 0
        }
        return taken
    }

    /// Takes one line out, without its line feed; nil if it is not whole.
    mutating func takeLine() -> [UInt8]? {
        guard let end = first(0x0A) else { return nil }
        var line = take(end + 1)
        line.removeLast()
        return line
    }
}

extension Array where Element == UInt8 {
    init(_ text: String) { self = Array(text.utf8) }

    var text: String { String(decoding: self, as: UTF8.self) }

    /// As much as a failure message should show.
    var excerpt: String {
        count <= 160 ? text : "\(Array(prefix(120)).text)… (\(count) bytes)"
    }

    func hasPrefix(_ text: StaticString) -> Bool {
        guard count >= text.utf8CodeUnitCount else { return false }
        return withUnsafeBytes { memcmp($0.baseAddress!, text.utf8Start, text.utf8CodeUnitCount) == 0 }
    }

    /// Whether `text` stands at `offset`.
    func has(_ text: StaticString, at offset: Int) -> Bool {
        guard offset + text.utf8CodeUnitCount <= count else { return false }
        return withUnsafeBytes { memcmp($0.baseAddress! + offset, text.utf8Start, text.utf8CodeUnitCount) == 0 }
    }

    /// A decimal number without sign or leading zero that starts at `offset`, which moves behind it.
    func number(at offset: inout Int) -> UInt64? {
        let start = offset
        var value: UInt64 = 0
        while offset < count, (0x30...0x39).contains(self[offset]) {
            let (tens, isLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, isTooLarge) = tens.addingReportingOverflow(UInt64(self[offset] - 0x30))
            if isLarge || isTooLarge { return nil }
            value = sum
            offset += 1
        }
        guard offset > start, self[start] != 0x30 || offset == start + 1 else { return nil }
        return value
    }
}

/// `<16 hex digits>-<number>`.
struct Place: Equatable, CustomStringConvertible {
    var epoch: String
    var seq: UInt64

    init(_ epoch: String, _ seq: UInt64) {
        self.epoch = epoch
        self.seq = seq
    }

    init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count > 17, bytes[16] == 0x2D, bytes[..<16].allSatisfy(Self.isHexDigit) else { return nil }
        var offset = 17
        guard let seq = bytes.number(at: &offset), offset == bytes.count else { return nil }
        self.init(Array(bytes[..<16]).text, seq)
    }

    var description: String { "\(epoch)-\(seq)" }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }
}
