/// What the HTTP and WebSocket suites share: seeded randomness, ways to cut bytes, and a reader of whole request
/// streams.

@testable import Wire

/// Numbers that are the same in every run (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Ways to deliver `count` bytes: the lengths of the pieces.
enum Pieces {
    static func whole(_ count: Int) -> [Int] { count == 0 ? [] : [count] }
    static func single(_ count: Int) -> [Int] { [Int](repeating: 1, count: count) }
    static func twoAt(_ place: Int, of count: Int) -> [Int] { [place, count - place].filter { $0 > 0 } }

    static func random(_ count: Int, _ numbers: inout SeededNumbers) -> [Int] {
        var pieces: [Int] = []
        var rest = count
        while rest > 0 {
            let piece = min(rest, Int.random(in: 1...max(1, min(count, 40)), using: &numbers))
            pieces.append(piece)
            rest -= piece
        }
        return pieces
    }
}

/// What a server would make of the bytes of one connection.
struct HTTPOutcome: Equatable {
    struct Request: Equatable {
        var method: String
        var path: String
        var query: String
        var host: String?
        var minorVersion: UInt8
        var keepAlive: Bool
        var expectsContinue: Bool
        var wantsWebSocket: Bool
        var body: [UInt8]
    }

    var requests: [Request] = []
    var fault: HTTPFault?
    /// True exactly when the stream ends in the middle of a request.
    var isIncomplete = false

    /// The fault's status, else 200 where requests ended well and 0 where one is incomplete.
    var status: Int { fault?.status ?? (isIncomplete ? 0 : 200) }
}

/// Reads requests with the parsers under test, from bytes that arrive in pieces.
struct HTTPStreamReader {
    static let bodyBytesMax = 1 << 20

    private var limits = HTTPLimits()
    private var buffer: [UInt8] = []
    private var framer = HTTPHeadFramer()
    private var request: HTTPOutcome.Request?
    private var lengthLeft = 0
    private var chunks: ChunkedDecoder?
    private var outcome = HTTPOutcome()

    static func read(_ bytes: [UInt8], pieces: [Int], limits: HTTPLimits = HTTPLimits()) -> HTTPOutcome {
        var reader = HTTPStreamReader()
        reader.limits = limits
        var offset = 0
        for piece in pieces {
            reader.buffer.append(contentsOf: bytes[offset..<(offset + piece)])
            offset += piece
            do throws(HTTPFault) {
                try reader.advance()
            } catch {
                reader.outcome.fault = error
                return reader.outcome
            }
        }
        reader.outcome.isIncomplete = !reader.buffer.isEmpty || reader.request != nil
        return reader.outcome
    }

    private mutating func advance() throws(HTTPFault) {
        while true {
            if request == nil {
                guard try takeHead() else { return }
            } else if chunks != nil {
                guard try takeChunks() else { return }
            } else {
                let count = min(lengthLeft, buffer.count)
                request?.body.append(contentsOf: buffer[..<count])
                buffer.removeFirst(count)
                lengthLeft -= count
                if lengthLeft > 0 { return }
                endRequest()
            }
        }
    }

    private mutating func endRequest() {
        if let request { outcome.requests.append(request) }
        request = nil
        chunks = nil
    }

    private mutating func takeHead() throws(HTTPFault) -> Bool {
        var scanner = framer
        let found = try scanner.scan(buffer.span, limits: limits)
        framer = found == nil ? scanner : HTTPHeadFramer()
        guard let length = found else { return false }
        let bytes = Array(buffer[..<length])
        buffer.removeFirst(length)
        let head = try HTTPRequestHead.parse(bytes.span, limits: limits)
        func text(_ range: ByteRange) -> String { String(decoding: bytes[range.range], as: UTF8.self) }
        request = HTTPOutcome.Request(
            method: text(head.methodName), path: text(head.path), query: text(head.query), host: head.host.map(text),
            minorVersion: head.minorVersion, keepAlive: head.keepAlive, expectsContinue: head.expectsContinue,
            wantsWebSocket: head.wantsWebSocket, body: [])
        switch head.body {
        case .none: lengthLeft = 0
        case .length(let length): lengthLeft = length
        case .chunked: chunks = ChunkedDecoder(bodyBytesMax: HTTPStreamReader.bodyBytesMax)
        }
        return true
    }

    private mutating func takeChunks() throws(HTTPFault) -> Bool {
        guard var decoder = chunks else { return false }
        var consumed = 0
        defer { buffer.removeFirst(consumed) }
        while true {
            switch try decoder.next(buffer.span, consumed: &consumed, limits: limits) {
            case .data(let range):
                request?.body.append(contentsOf: buffer[range.range])
            case .needsMore:
                chunks = decoder
                return false
            case .end:
                endRequest()
                return true
            }
        }
    }
}
