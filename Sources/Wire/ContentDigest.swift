/// Names for texts of any length: 16 bytes that two texts do not share.

import CDigest

/// The first 128 bits of a SHA-256: to find two texts with one digest takes some 2^64 tries, so equal digests may be
/// taken for equal texts. The same in every process and build, so that it may be stored.
package struct ContentDigest: BitwiseCopyable, Hashable, Sendable {
    /// The first and the second eight bytes, the first byte the most significant.
    package let high: UInt64
    package let low: UInt64

    /// The digest with these bytes.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A digest from its 16 bytes, as `bytes` gives them; nil for any other number of bytes.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        self.init(
            high: bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }, low: bytes[8...].reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// The 16 bytes as 32 lowercase hex digits.
    package var hex: [UInt8] {
        var text: [UInt8] = []
        text.append(hex16: high)
        text.append(hex16: low)
        return text
    }

    /// The 16 bytes.
    package var bytes: [UInt8] {
        [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } }
    }
}

/// Makes a digest of pieces. No allocation; linear in the bytes that are added.
package struct ContentDigester {
    private var digest = digest_sha256()

    /// A digest of nothing yet.
    package init() { digest_sha256_begin(&digest) }

    /// Adds bytes. Where one piece ends and the next begins is not part of what is digested.
    package mutating func add(_ bytes: Span<UInt8>) {
        bytes.withUnsafeBufferPointer { add($0) }
    }

    /// Adds bytes.
    package mutating func add(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let base = bytes.baseAddress else { return }
        digest_sha256_add(&digest, base, bytes.count)
    }

    /// Adds one byte.
    package mutating func add(_ byte: UInt8) {
        withUnsafePointer(to: byte) { add(UnsafeBufferPointer(start: $0, count: 1)) }
    }

    /// The digest of all that was added.
    package consuming func finish() -> ContentDigest {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { bytes in
            digest_sha256_end(&digest, bytes.baseAddress!)
            func word(_ start: Int) -> UInt64 { (start..<start + 8).reduce(0) { $0 << 8 | UInt64(bytes[$1]) } }
            return ContentDigest(high: word(0), low: word(8))
        }
    }
}
