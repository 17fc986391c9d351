// Chunked bodies, against a naive reader of RFC 9112 section 7.1.

import Wire

enum ChunkedBodyTarget {
    private struct Outcome: Equatable {
        enum End: Equatable {
            case incomplete
            case refused(HTTPFault)
            /// The body has ended before this offset.
            case ended(Int)
        }

        var body: [UInt8] = []
        var end = End.incomplete
    }

    /// Limits that short inputs reach.
    private static let small: HTTPLimits = {
        var limits = HTTPLimits()
        limits.chunkExtensionBytesMax = 6
        limits.trailerBytesMax = 24
        limits.fieldsMax = 2
        return limits
    }()

    static func judge(_ input: Input) {
        for (limits, bodyBytesMax) in [(HTTPLimits(), 1 << 20), (small, 20)] {
            let whole = read(input, .whole, limits, bodyBytesMax)
            for delivery in Delivery.inPieces(input) {
                expectEqual(
                    read(input, delivery, limits, bodyBytesMax), whole, "a body is read differently as \(delivery)")
            }
            var naive = NaiveChunks(Array(input), limits, bodyBytesMax)
            let ending = naive.read()
            expectEqual(whole.body, naive.body, "a body's bytes")
            switch whole.end {
            case .incomplete: expectEqual(ending, .incomplete, "incomplete")
            case .refused(let fault):
                expectEqual(ending, .refused, "refused (\(fault))")
                expect([400, 413, 431].contains(fault.status), "status \(fault)")
            case .ended(let count): expectEqual(ending, .ended(count), "ended")
            }
        }
    }

    private static func read(
        _ input: Input, _ delivery: Delivery, _ limits: HTTPLimits, _ bodyBytesMax: Int
    ) -> Outcome {
        var outcome = Outcome()
        var decoder = ChunkedDecoder(bodyBytesMax: bodyBytesMax)
        var start = 0
        do throws(HTTPFault) {
            for end in delivery.ends(input.count) {
                let piece = Input(rebasing: input[start..<end])
                var consumed = 0
                piece: while true {
                    let before = consumed
                    switch try decoder.next(piece.span, consumed: &consumed, limits: limits) {
                    case .data(let range):
                        expect(!range.isEmpty && before <= range.range.lowerBound && range.end == consumed, "\(range)")
                        outcome.body += piece[range.range]
                    case .needsMore:
                        expectEqual(consumed, piece.count, "more is wanted before all is taken")
                        break piece
                    case .end:
                        outcome.end = .ended(start + consumed)
                        let again = try decoder.next(piece.span, consumed: &consumed, limits: limits)
                        expectEqual(again, .end, "an end stays one")
                        return outcome
                    }
                }
                start = end
            }
        } catch { outcome.end = .refused(error) }
        return outcome
    }
}

/// Byte after byte, by the grammar.
private struct NaiveChunks {
    enum Ending: Error, Equatable {
        case incomplete, refused
        case ended(Int)
    }

    private let bytes: [UInt8]
    private let limits: HTTPLimits
    private let bodyBytesMax: Int
    private var at = 0
    private var extensionBytes = 0
    private(set) var body: [UInt8] = []

    init(_ bytes: [UInt8], _ limits: HTTPLimits, _ bodyBytesMax: Int) {
        self.bytes = bytes
        self.limits = limits
        self.bodyBytesMax = bodyBytesMax
    }

    mutating func read() -> Ending {
        do throws(Ending) {
            while true {
                let count = try size()
                if count == 0 { break }
                for _ in 0..<count { body.append(try take { _ in true }) }
                try lineEnd()
            }
            try trailers()
            return .ended(at)
        } catch { return error }
    }

    private mutating func take(_ isRight: (UInt8) -> Bool) throws(Ending) -> UInt8 {
        guard at < bytes.count else { throw .incomplete }
        guard isRight(bytes[at]) else { throw .refused }
        at += 1
        return bytes[at - 1]
    }

    private mutating func lineEnd() throws(Ending) {
        _ = try take { $0 == 13 }
        _ = try take { $0 == 10 }
    }

    private static func isContent(_ byte: UInt8) -> Bool { byte == 9 || (byte >= 0x20 && byte != 0x7F) }

    /// The size, with its extensions and the end of its line.
    private mutating func size() throws(Ending) -> Int {
        var digits: [UInt8] = []
        while at < bytes.count, NaiveText.hexDigit(bytes[at]) != nil {
            digits.append(bytes[at])
            at += 1
            guard digits.count <= 16, let size = UInt64(NaiveText.string(digits), radix: 16),
                size <= UInt64(bodyBytesMax - body.count)
            else { throw .refused }
        }
        if digits.isEmpty { _ = try take { _ in false } }
        let start = at
        var kinds: [UInt8] = []
        while true {
            guard at < bytes.count else { throw .incomplete }
            let byte = bytes[at]
            // Blanks are good only before a semicolon, so a line cannot end in them.
            if byte == 13, kinds.isEmpty || kinds.contains(UInt8(ascii: ";")) { break }
            guard Self.isContent(byte) else { throw .refused }
            if !kinds.contains(UInt8(ascii: ";")), ![0x20, 0x09, UInt8(ascii: ";")].contains(byte) { throw .refused }
            kinds.append(byte)
            at += 1
            if extensionBytes + at - start > limits.chunkExtensionBytesMax { throw .refused }
        }
        extensionBytes += at - start
        try lineEnd()
        return Int(NaiveText.string(digits), radix: 16) ?? 0
    }

    private mutating func trailers() throws(Ending) {
        let start = at
        let limited = bytes.count - start > limits.trailerBytesMax
        var fields = 0
        do throws(Ending) {
            while true {
                if at < bytes.count, bytes[at] == 13 { break }
                _ = try take { NaiveText.tokenCharacters.contains($0) }
                fields += 1
                if fields > limits.fieldsMax { throw Ending.refused }
                while try take({ $0 == UInt8(ascii: ":") || NaiveText.tokenCharacters.contains($0) }) != 0x3A {}
                while at < bytes.count, Self.isContent(bytes[at]) { at += 1 }
                try lineEnd()
            }
            try lineEnd()
        } catch {
            if error == .incomplete, limited { throw .refused }
            throw error
        }
        if at - start > limits.trailerBytesMax { throw .refused }
    }
}
