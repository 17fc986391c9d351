/// What a publisher's connection speaks: a static switch over one file per protocol.

/// A protocol that events are published over.
package enum PublishDialect: UInt8, CaseIterable, Sendable {
    /// JSON lines to an ingest socket or a pipe; nothing is answered.
    case lines
    /// POST; each request is answered.
    case http
    /// NATS' PUB, which is not answered.
    case nats
    /// Redis' PUBLISH; each is answered.
    case redis
    /// MQTT inside of WebSocket frames, at QoS 0: nothing is answered.
    case mqttWS

    /// Appends what a publisher says as soon as it is connected.
    package func appendOpening(_ route: PublishRoute, to output: inout [UInt8]) {
        switch self {
        case .lines, .http, .redis: break
        case .nats: NatsDialect.appendPublisherOpening(to: &output)
        case .mqttWS:
            let target = Route.target(route.path, channel: nil)
            HTTPOpening.append(target, host: route.host, fields: MQTTDialect.requestFields, to: &output)
        }
    }

    /// Takes what the server says before it takes events; see `Dialect.handshake`.
    package func handshake(_ bytes: Span<UInt8>, _ state: inout OpeningState, say: inout [UInt8]) -> HandshakeStep {
        switch self {
        case .lines, .http, .redis: .done(used: 0)
        case .nats: NatsDialect.handshake(bytes, say: &say)
        case .mqttWS: MQTTDialect.publisherHandshake(bytes, &state, say: &say)
        }
    }

    /// Appends what goes before `count` events of `eventBytes` each, which `append` then adds and `appendBatchEnd`
    /// ends. They are for one channel where `route.takesBatches` is false or there is only one.
    package func appendBatchStart(_ route: PublishRoute, count: Int, eventBytes: Int, to output: inout [UInt8]) {
        switch self {
        case .lines, .nats, .redis, .mqttWS: break
        case .http: HTTPPublishing.appendBatchStart(route, count: count, eventBytes: eventBytes, to: &output)
        }
    }

    /// Appends one event.
    package func append(
        _ event: UnsafeBufferPointer<UInt8>, _ route: PublishRoute, channel: Int, inBatchOf count: Int,
        to output: inout [UInt8]
    ) {
        switch self {
        case .lines: LinePublishing.append(event, route, channel: channel, to: &output)
        case .http: HTTPPublishing.append(event, route, channel: channel, inBatchOf: count, to: &output)
        case .nats: NatsDialect.appendEvent(event, channel: route.name(of: channel), to: &output)
        case .redis: RedisDialect.appendEvent(event, channel: route.name(of: channel), to: &output)
        case .mqttWS: MQTTDialect.appendEvent(event, channel: route.name(of: channel), to: &output)
        }
    }

    /// Appends what ends the batch; how many `.taken` the server will say for it, 0 where it says nothing.
    package func appendBatchEnd(_ route: PublishRoute, count: Int, to output: inout [UInt8]) -> Int {
        switch self {
        case .lines, .nats, .mqttWS: 0
        case .http: route.takesBatches ? 1 : count
        case .redis: count
        }
    }

    /// What lies at the front of what the server says to a publisher. Never traps.
    package func find(_ bytes: Span<UInt8>) -> Finding {
        switch self {
        case .lines: .fault("an answer on an ingest socket that was not asked for one")
        case .http: HTTPPublishing.find(bytes)
        case .nats: NatsDialect.find(bytes)
        case .redis: RedisDialect.findAnswer(bytes)
        case .mqttWS: MQTTDialect.findAnswer(bytes)
        }
    }

    /// Appends the answer to what `find` called `.reply`.
    package func appendReply(to frame: Span<UInt8>, into output: inout [UInt8]) {
        switch self {
        case .lines, .http, .redis: break
        case .nats: NatsDialect.appendReply(into: &output)
        case .mqttWS: WebSocketDialect.appendPong(to: frame, into: &output)
        }
    }
}
