/// The body of an HTTP response, freed from its framing as it arrives.

/// Takes the bytes that follow a response's head and hands on the body's.
package struct HTTPBodyReader {
    private enum State: Equatable {
        case counted(Int)
        case untilClose
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailer
        case done
    }

    /// The longest line of chunk framing: the size with extensions, or one trailer field.
    private static let lineBytesMax = 4_096

    private var state: State
    private var line: [UInt8] = []

    /// A reader for a body with this framing.
    package init(_ framing: HTTPClientResponse.Framing) {
        switch framing {
        case .length(0): state = .done
        case .length(let count): state = .counted(count)
        case .chunked: state = .chunkSize
        case .untilClose: state = .untilClose
        }
    }

    /// True exactly when the body is complete and what follows belongs to the next response.
    package var isDone: Bool { state == .done }

    /// True exactly when the end of the connection is a right end of the body.
    package var mayEndHere: Bool { state == .done || state == .untilClose }

    /// Takes from `input` what belongs to the body and returns how many bytes that were; payload goes to `sink`.
    package mutating func take(_ input: ArraySlice<UInt8>, sink: (ArraySlice<UInt8>) -> Void) throws(ClientError) -> Int
    {
        var index = input.startIndex
        while index < input.endIndex {
            switch state {
            case .done:
                return index - input.startIndex
            case .untilClose:
                sink(input[index...])
                index = input.endIndex
            case .counted(let left), .chunk(let left):
                let count = min(left, input.endIndex - index)
                sink(input[index..<(index + count)])
                index += count
                if case .counted = state {
                    state = count == left ? .done : .counted(left - count)
                } else {
                    state = count == left ? .chunkEnd : .chunk(left - count)
                }
            case .chunkSize, .chunkEnd, .trailer:
                let byte = input[index]
                index += 1
                if byte == UInt8(ascii: "\n") {
                    guard line.last == UInt8(ascii: "\r") else { throw Self.fault }
                    line.removeLast()
                    try endLine()
                    line.removeAll(keepingCapacity: true)
                } else {
                    guard line.count < Self.lineBytesMax else { throw Self.fault }
                    line.append(byte)
                }
            }
        }
        return index - input.startIndex
    }

    private mutating func endLine() throws(ClientError) {
        switch state {
        case .chunkSize:
            // A chunk's size and, after a semicolon, extensions that mean nothing to us.
            let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") }
            guard !digits.isEmpty, digits.count <= 8, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
                let size = Int(String(decoding: digits, as: UTF8.self), radix: 16)
            else { throw Self.fault }
            state = size == 0 ? .trailer : .chunk(size)
        case .chunkEnd:
            guard line.isEmpty else { throw Self.fault }
            state = .chunkSize
        default:
            if line.isEmpty { state = .done }
        }
    }

    private static var fault: ClientError { HTTPClientResponse.fault("its chunked body is malformed") }
}
