/// What a reader's connection speaks: a static switch over one file per protocol.

import Wire

/// A protocol that events are read over.
package enum Dialect: UInt8, CaseIterable, Sendable {
    /// JSON lines from the first byte, over TCP or a unix socket.
    case jsonl
    /// JSON lines as the body of an HTTP response.
    case jsonlHTTP
    /// Server-sent events.
    case sse
    /// WebSocket text or binary messages.
    case ws
    /// NATS over TCP, and inside of WebSocket frames.
    case nats, natsWS
    /// Redis' pub/sub over TCP.
    case redis
    /// MQTT inside of WebSocket frames.
    case mqttWS

    /// The transport's name on the command line and in results.
    package var name: String {
        switch self {
        case .jsonl, .jsonlHTTP: "jsonl"
        case .sse: "sse"
        case .ws: "ws"
        case .nats: "nats"
        case .natsWS: "nats-ws"
        case .redis: "redis"
        case .mqttWS: "mqtt-ws"
        }
    }

    /// Appends what a reader says as soon as it is connected; nothing where the server speaks first. `channel` is nil
    /// where the server's default is wanted.
    package func appendOpening(_ route: Route, channel: String?, to output: inout [UInt8]) {
        switch self {
        case .jsonl: JSONLDialect.appendOpening(channel: channel, from: route.from, to: &output)
        case .jsonlHTTP: HTTPOpening.append(route, channel: channel, fields: JSONLDialect.requestFields, to: &output)
        case .sse: HTTPOpening.append(route, channel: channel, fields: SSEDialect.requestFields, to: &output)
        case .ws: HTTPOpening.append(route, channel: channel, fields: WebSocketDialect.requestFields, to: &output)
        case .nats: NatsDialect.appendOpening(channel: channel, to: &output)
        case .natsWS: HTTPOpening.append(route, channel: channel, fields: NatsDialect.requestFields, to: &output)
        case .redis: RedisDialect.appendOpening(channel: channel, to: &output)
        case .mqttWS: HTTPOpening.append(route, channel: channel, fields: MQTTDialect.requestFields, to: &output)
        }
    }

    /// Takes what the server says before the stream. Called again with more bytes after `.incomplete`, and with the
    /// bytes behind those taken after `.step`; what `say` holds then is sent.
    package func handshake(
        _ bytes: Span<UInt8>, channel: String?, _ state: inout OpeningState, say: inout [UInt8]
    ) -> HandshakeStep {
        switch self {
        case .jsonl: JSONLDialect.handshake(bytes, &state)
        case .jsonlHTTP, .sse: HTTPOpening.take(bytes, status: 200, &state)
        case .ws: HTTPOpening.take(bytes, status: 101, &state)
        case .nats: NatsDialect.handshake(bytes, say: &say)
        case .natsWS: NatsDialect.handshakeInFrames(bytes, channel: channel, &state, say: &say)
        case .redis: RedisDialect.handshake(bytes)
        case .mqttWS: MQTTDialect.handshake(bytes, channel: channel, &state, say: &say)
        }
    }

    /// What lies at the front of a stream's bytes. Bytes from outside: answers a fault, never traps.
    package func find(_ bytes: Span<UInt8>) -> Finding {
        switch self {
        case .jsonl, .jsonlHTTP: JSONLDialect.find(bytes)
        case .sse: SSEDialect.find(bytes)
        case .ws: WebSocketDialect.find(bytes)
        case .nats, .natsWS: NatsDialect.find(bytes)
        case .redis: RedisDialect.find(bytes)
        case .mqttWS: MQTTDialect.find(bytes)
        }
    }

    /// Appends the answer to what `find` called `.reply`; `frame` is that frame, whole.
    package func appendReply(to frame: Span<UInt8>, into output: inout [UInt8]) {
        switch self {
        case .jsonl, .jsonlHTTP, .sse, .redis, .mqttWS: break
        case .ws: WebSocketDialect.appendPong(to: frame, into: &output)
        case .nats: NatsDialect.appendReply(into: &output)
        case .natsWS: NatsDialect.appendReplyInFrame(into: &output)
        }
    }
}

/// How far a handshake has come; a few bytes in each reader's row.
package struct OpeningState: BitwiseCopyable, Sendable {
    /// The dialect's own count of steps; 0 at first.
    package var stage: UInt8 = 0
    /// Greetings that must come before the stream stands.
    package var hellosDue: UInt8 = 0
    /// True exactly when what follows is an HTTP body in chunks, which the reader then takes off.
    package var isChunked = false
    /// True exactly when what follows is a protocol inside of WebSocket frames, which the reader then takes off.
    package var isInFrames = false
    /// True exactly when the last chunk has come.
    package var isOver = false

    package init() {}
}

/// What a look at the bytes of a handshake has given.
package enum HandshakeStep: Equatable {
    /// More bytes must come.
    case incomplete
    /// So many bytes were taken; what `say` holds is sent, and the rest looked at again.
    case step(used: Int)
    /// The stream begins behind so many bytes.
    case done(used: Int)
    /// The server refused, or speaks something else: why, for people.
    case refused(String)
}

/// What lies at the front of received bytes. `frame` is how many bytes it has.
package enum Finding: Equatable {
    /// Not whole yet.
    case incomplete
    /// An event, and where in the frame its payload lies.
    case event(frame: Int, payload: Range<Int>)
    /// Nothing to do: a keep-alive, a comment, a record of the server's own.
    case skip(frame: Int)
    /// Must be answered at once (`appendReply`): a ping.
    case reply(frame: Int)
    /// The server says that events are missing.
    case gap(frame: Int)
    /// The server says that it ends the stream.
    case end(frame: Int)
    /// A publisher's oldest unanswered batch was taken.
    case taken(frame: Int)
    /// Not this protocol, or a part of it that is not read here: why, for people.
    case fault(String)

    /// The finding for a frame whose payload is `bytes[payload]`: fanout's own records are told from events.
    static func classified(_ bytes: Span<UInt8>, frame: Int, payload: Range<Int>) -> Finding {
        // Every control record of fanout begins so. No event may.
        guard bytes.has("{\"type\":\"$", at: payload.lowerBound, before: payload.upperBound) else {
            return .event(frame: frame, payload: payload)
        }
        let name = payload.lowerBound + 10
        if bytes.has("gap\"", at: name, before: payload.upperBound) { return .gap(frame: frame) }
        if bytes.has("bye\"", at: name, before: payload.upperBound) { return .end(frame: frame) }
        return .skip(frame: frame)
    }
}

/// The largest frame that is read.
let frameBytesMax = 1 << 20
