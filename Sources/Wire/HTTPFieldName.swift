/// The field names that the parser knows, found by length first: an unknown field costs one or two comparisons.
enum HTTPFieldName: UInt8, BitwiseCopyable, Sendable {
    case host, contentLength, transferEncoding, connection, upgrade, expect
    case origin, accept, contentType, contentEncoding, lastEventID, idempotencyKey, userAgent
    case secFetchSite, secFetchMode, secWebSocketKey, secWebSocketVersion, secWebSocketProtocol

    /// The known field whose name is at `name`, in any mixture of cases.
    static func named(_ bytes: Span<UInt8>, _ name: ByteRange) -> HTTPFieldName? {
        func matches(_ text: StaticString) -> Bool { ASCII.matchesAnyCase(bytes, name, text) }
        switch name.count {
        case 4: return matches("host") ? .host : nil
        case 6:
            if matches("accept") { return .accept }
            if matches("origin") { return .origin }
            return matches("expect") ? .expect : nil
        case 7: return matches("upgrade") ? .upgrade : nil
        case 10:
            if matches("connection") { return .connection }
            return matches("user-agent") ? .userAgent : nil
        case 12: return matches("content-type") ? .contentType : nil
        case 13: return matches("last-event-id") ? .lastEventID : nil
        case 14:
            if matches("content-length") { return .contentLength }
            if matches("sec-fetch-site") { return .secFetchSite }
            return matches("sec-fetch-mode") ? .secFetchMode : nil
        case 15: return matches("idempotency-key") ? .idempotencyKey : nil
        case 16: return matches("content-encoding") ? .contentEncoding : nil
        case 17:
            if matches("transfer-encoding") { return .transferEncoding }
            return matches("sec-websocket-key") ? .secWebSocketKey : nil
        case 21: return matches("sec-websocket-version") ? .secWebSocketVersion : nil
        case 22: return matches("sec-websocket-protocol") ? .secWebSocketProtocol : nil
        default: return nil
        }
    }
}
