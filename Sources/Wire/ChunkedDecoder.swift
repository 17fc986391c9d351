/// Takes a chunked body apart (RFC 9112 section 7.1), strictly and at any split of the input.
///
/// A pull parser: call `next` until it says `needsMore` or `end`. Chunk extensions and trailer fields are checked,
/// bounded and dropped. What is reported depends on the bytes alone, never on how they arrived. After a fault the body
/// is over.
package struct ChunkedDecoder: BitwiseCopyable, Sendable {
    /// What a call of `next` has found.
    package enum Step: BitwiseCopyable, Equatable, Sendable {
        /// A piece of the body: a range of the input given to `next`, never empty.
        case data(ByteRange)
        /// All input is consumed and the body goes on.
        case needsMore
        /// The body with its trailer section has ended; what follows in the input is the next request.
        case end
    }

    private enum Place: UInt8 {
        case size, sizeBlank, chunkExtension, sizeReturn
        case data, dataReturn, dataLineFeed
        case trailerStart, trailerName, trailerValue, trailerReturn, endReturn, end
    }

    /// What is left of the current chunk, and while its size is read, the size so far.
    private var chunkBytes: UInt64 = 0
    /// What the body may still grow by.
    private var allowance: UInt64
    private var extensionBytes: UInt32 = 0
    private var trailerBytes: UInt32 = 0
    private var trailerFields: UInt32 = 0
    private var sizeDigits: UInt8 = 0
    private var place = Place.size

    /// A decoder for one body of at most `bodyBytesMax` bytes; 413 as soon as a chunk's size says that it will be more.
    package init(bodyBytesMax: Int) {
        precondition(bodyBytesMax >= 0, "a body's limit cannot be negative")
        allowance = UInt64(bodyBytesMax)
    }

    /// Goes on at `input[consumed]` and moves `consumed` behind what it has taken. Throws 400, 413 or 431.
    package mutating func next(
        _ input: Span<UInt8>, consumed: inout Int, limits: HTTPLimits
    ) throws(HTTPFault) -> Step {
        while place != .end, consumed < input.count {
            if place == .data {
                // A piece is at most 1 GiB so that its range fits, whatever the input is.
                let count = Int(min(chunkBytes, UInt64(min(input.count - consumed, 1 << 30))))
                let piece = ASCII.range(consumed, consumed + count)
                consumed += count
                chunkBytes -= UInt64(count)
                if chunkBytes == 0 { place = .dataReturn }
                return .data(piece)
            }
            let byte = input[consumed]
            consumed += 1
            if place.rawValue < Place.data.rawValue {
                try sizeLine(byte, limits: limits)
            } else if place.rawValue < Place.trailerStart.rawValue {
                try dataEnd(byte)
            } else {
                try trailer(byte, limits: limits)
            }
        }
        return place == .end ? .end : .needsMore
    }

    private mutating func sizeLine(_ byte: UInt8, limits: HTTPLimits) throws(HTTPFault) {
        if place == .sizeReturn {
            guard byte == ASCII.lineFeed else { throw .badChunk("a CR in the chunk framing is not followed by LF") }
            place = sizeDigits > 0 && chunkBytes == 0 ? .trailerStart : .data
            allowance -= chunkBytes
            sizeDigits = 0
            return
        }
        if place == .size, let digit = ASCII.hexValue(byte) {
            guard sizeDigits < 16 else { throw .badChunk("a chunk's size has more than 16 digits") }
            sizeDigits += 1
            // At most `allowance`, which is below 2^63, so the shift may lose the top bit only of a size that is
            // refused anyway.
            guard chunkBytes < 1 << 59 else { throw .bodyTooLarge }
            chunkBytes = chunkBytes << 4 | UInt64(digit)
            guard chunkBytes <= allowance else { throw .bodyTooLarge }
            return
        }
        guard sizeDigits > 0 else { throw .badChunk("a chunk does not begin with its size") }
        if byte == ASCII.carriageReturn, place != .sizeBlank {
            place = .sizeReturn
            return
        }
        guard ASCII.isFieldContent(byte) else {
            throw .badChunk("a bare LF or a control character in the chunk framing")
        }
        extensionBytes += 1
        guard Int(extensionBytes) <= limits.chunkExtensionBytesMax else {
            throw .badChunk("the chunk extensions are too long")
        }
        if place == .chunkExtension { return }
        if ASCII.isBlank(byte) {
            place = .sizeBlank
        } else {
            guard byte == UInt8(ascii: ";") else { throw .badChunk("a chunk's size is not a hexadecimal number") }
            place = .chunkExtension
        }
    }

    private mutating func dataEnd(_ byte: UInt8) throws(HTTPFault) {
        let isReturn = place == .dataReturn
        guard byte == (isReturn ? ASCII.carriageReturn : ASCII.lineFeed) else {
            throw .badChunk("a chunk's data is not followed by CR LF")
        }
        place = isReturn ? .dataLineFeed : .size
    }

    private mutating func trailer(_ byte: UInt8, limits: HTTPLimits) throws(HTTPFault) {
        trailerBytes += 1
        guard Int(trailerBytes) <= limits.trailerBytesMax else {
            throw .headTooLarge("the trailer section is too large")
        }
        switch place {
        case .trailerStart where byte == ASCII.carriageReturn:
            place = .endReturn
        case .trailerStart:
            guard ASCII.isToken(byte) else { throw .badChunk("a trailer line does not begin with a field name") }
            guard Int(trailerFields) < limits.fieldsMax else {
                throw .headTooLarge("there are too many trailer fields")
            }
            trailerFields += 1
            place = .trailerName
        case .trailerName:
            if byte == UInt8(ascii: ":") {
                place = .trailerValue
            } else if !ASCII.isToken(byte) {
                throw .badChunk("a trailer's name is not followed by its colon")
            }
        case .trailerValue:
            if byte == ASCII.carriageReturn {
                place = .trailerReturn
            } else if !ASCII.isFieldContent(byte) {
                throw .badChunk("a bare LF or a control character in the trailer section")
            }
        default:
            guard byte == ASCII.lineFeed else { throw .badChunk("a CR in the trailer section is not followed by LF") }
            place = place == .trailerReturn ? .trailerStart : .end
        }
    }
}
