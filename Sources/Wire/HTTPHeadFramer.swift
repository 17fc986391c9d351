// Where a request head ends.

import Planted

/// Finds where a request's head ends, over any number of partial reads.
///
/// Each byte is looked at once, however the head is cut into pieces: the framer remembers how far it has searched, and
/// the caller gives it the same, growing bytes from the head's first one on. What makes the head hopeless is reported
/// with the byte that shows it (a bare LF or CR, a control character, a limit), so a peer that speaks something else is
/// answered at once instead of at its deadline. Which fault is reported depends on the bytes alone, never on how they
/// arrived.
package struct HTTPHeadFramer: BitwiseCopyable, Sendable {
    private enum Place: UInt8 {
        /// At the first byte, where one empty line is forgiven (RFC 9112 section 2.2).
        case start, startReturn
        case requestLineStart, requestLine, requestLineReturn
        case fieldStart, field, fieldReturn
        case endReturn, end
    }

    private var searched: UInt32 = 0
    private var lineStart: UInt32 = 0
    private var fields: UInt16 = 0
    private var place = Place.start

    package init() {}

    /// True exactly when no byte has been seen yet: the connection is idle between requests.
    package var isIdle: Bool { searched == 0 }

    /// Searches on in `bytes`, which begin where the head begins and hold at least what was given before.
    ///
    /// Returns the length of the head with its final empty line, nil while more bytes are needed. Bytes behind the head
    /// are not looked at. Throws 400, 414 or 431.
    package mutating func scan(
        _ bytes: Span<UInt8>, limits: HTTPLimits
    ) throws(HTTPFault) -> Int? {
        var index = Int(searched)
        while place != .end, index < bytes.count {
            index = skipContent(bytes, from: index, limits: limits)
            guard index < bytes.count else { break }
            try step(bytes[index], at: index, limits: limits)
            index += 1
            // Said with the last byte that may be there, so a buffer of exactly `headBytesMax` is enough.
            guard place == .end || index < limits.headBytesMax else {
                throw .headTooLarge("the request's head is too large")
            }
        }
        searched = UInt32(truncatingIfNeeded: index)
        return place == .end ? index : nil
    }

    /// Passes over what changes nothing, as far as no limit is met in it.
    @inline(__always)
    private func skipContent(_ bytes: Span<UInt8>, from index: Int, limits: HTTPLimits) -> Int {
        var end = min(bytes.count, limits.headBytesMax - 1)
        switch place {
        case .requestLine: end = min(end, Int(lineStart) + limits.requestLineBytesMax)
        case .field: break
        default: return index
        }
        return index < end ? HTTPContentScan.end(in: bytes, index..<end) : index
    }

    @inline(__always)
    private mutating func step(_ byte: UInt8, at index: Int, limits: HTTPLimits) throws(HTTPFault) {
        switch place {
        case .start where byte == ASCII.carriageReturn:
            place = .startReturn
        case .startReturn:
            try expectLineFeed(byte, then: .requestLineStart)
        case .start, .requestLineStart:
            guard byte != ASCII.carriageReturn else { throw .badRequest("the request line is empty") }
            try expectContent(byte)
            lineStart = UInt32(truncatingIfNeeded: index)
            place = .requestLine
        case .requestLine:
            if byte == ASCII.carriageReturn {
                place = .requestLineReturn
            } else {
                try expectContent(byte)
                guard index - Int(lineStart) < limits.requestLineBytesMax else { throw .targetTooLong }
            }
        case .fieldStart where byte == ASCII.carriageReturn:
            place = .endReturn
        case .fieldStart:
            try expectContent(byte)
            guard Int(fields) < limits.fieldsMax else { throw .headTooLarge("the request has too many header fields") }
            fields &+= 1
            place = .field
        case .field where byte == ASCII.lineFeed && isPlanted("bareLineFeedAccepted"):
            place = .fieldStart
        case .field:
            if byte == ASCII.carriageReturn { place = .fieldReturn } else { try expectContent(byte) }
        case .requestLineReturn, .fieldReturn:
            try expectLineFeed(byte, then: .fieldStart)
        case .endReturn:
            try expectLineFeed(byte, then: .end)
        case .end:
            break
        }
    }

    @inline(__always)
    private func expectContent(_ byte: UInt8) throws(HTTPFault) {
        if ASCII.isFieldContent(byte) { return }
        throw byte == ASCII.lineFeed ? .bareLineFeed : .controlByte
    }

    @inline(__always)
    private mutating func expectLineFeed(_ byte: UInt8, then next: Place) throws(HTTPFault) {
        guard byte == ASCII.lineFeed else { throw .bareCarriageReturn }
        place = next
    }
}
