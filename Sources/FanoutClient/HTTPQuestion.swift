/// One GET and its answer: for what is asked once, over TCP or the HTTP socket.

/// Asks a server for something that is whole and small.
package enum HTTPQuestion {
    /// The largest answer taken: 4 MiB.
    package static let bytesMax = 4 << 20

    /// The body of the answer to `GET target`. A unix socket must be one that speaks HTTP: `http.socket`.
    /// - Throws: `refused` for any status but 200, `unreachable`, `timedOut` and `lost` for the connection,
    ///   `protocolFault` for what is no such answer.
    package static func get(
        _ target: String, from endpoint: Endpoint, milliseconds: Int = 10_000
    ) throws(ClientError) -> [UInt8] {
        let deadline = Clock.deadline(after: milliseconds)
        var stream = ByteStream()
        try stream.connect(to: endpoint, deadline: deadline)
        let authority = if case .http(let address) = endpoint { address.authority } else { "localhost" }
        let head = "GET \(target) HTTP/1.1\r\nHost: \(authority)\r\nUser-Agent: fanout\r\nAccept: application/json\r\n"
        try stream.write(Array((head + "Connection: close\r\n\r\n").utf8), deadline: deadline)
        var input: [UInt8] = []
        var answer: HTTPClientResponse?
        var reader = HTTPBodyReader(.length(0))
        var body: [UInt8] = []
        while true {
            if answer == nil, let (found, count) = try HTTPClientResponse.parse(input[...]) {
                input.removeFirst(count)
                guard found.status >= 200 else { continue }
                answer = found
                reader = HTTPBodyReader(found.framing)
            }
            if let answer {
                _ = try reader.take(input[...]) { body += $0 }
                input = []
                guard body.count <= bytesMax else {
                    throw HTTPClientResponse.fault("its answer has more than \(bytesMax) bytes")
                }
                if reader.isDone { return try take(body, answer, endpoint) }
            }
            guard try receive(&input, &stream, deadline) else {
                guard let answer, reader.mayEndHere else {
                    throw ClientError(.lost, "\(endpoint) closed before its answer was whole")
                }
                return try take(body, answer, endpoint)
            }
        }
    }

    private static func take(
        _ body: [UInt8], _ answer: HTTPClientResponse, _ endpoint: Endpoint
    ) throws(ClientError) -> [UInt8] {
        if answer.status == 200 { return body }
        throw ServerError.refusal(status: answer.status, body: body, by: endpoint.description)
    }

    /// Takes what has come; false at the end of the connection.
    private static func receive(
        _ input: inout [UInt8], _ stream: inout ByteStream, _ deadline: UInt64
    ) throws(ClientError) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        var outcome = ByteStream.ReadOutcome.timedOut
        var fault: ClientError?
        buffer.withUnsafeMutableBytes { bytes in
            do throws(ClientError) { outcome = try stream.read(into: bytes, deadline: deadline) } catch {
                fault = error
            }
        }
        if let fault { throw fault }
        switch outcome {
        case .bytes(let count):
            input += buffer[..<count]
            return true
        case .end: return false
        case .timedOut, .watchedClosed: throw ClientError(.timedOut, "the server does not answer")
        }
    }
}
