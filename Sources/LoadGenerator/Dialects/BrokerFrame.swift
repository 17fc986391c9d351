/// What the stream of a message broker begins with: the common answer of the framers of NATS, Redis and MQTT.

import Wire

/// One frame of a broker's stream, taken apart. The framers are pure functions: the same bytes give the same frame.
struct BrokerFrame: BitwiseCopyable, Hashable, Sendable {
    /// What a frame is to a reader.
    enum Kind: UInt8, BitwiseCopyable, Sendable {
        /// A message of the channel; `payload` is the event as it was published.
        case event
        /// The answer that shows that the subscription stands: what is published from now on will come.
        case subscribed
        /// The server asks for a sign of life.
        case ping
        /// A greeting or an answer that needs nothing.
        case notice
        /// Nothing that this protocol allows here, or a refusal: the connection is of no further use.
        case fault
        /// The frame has not come whole yet; nothing is said about it.
        case incomplete
    }

    /// What it is.
    var kind: Kind
    /// Where the event is, counted from the beginning of the bytes; empty for all other kinds.
    var payload: ByteRange
    /// Where the next frame begins; where this one began, if it is incomplete or a fault.
    var next: Int

    /// An event whose payload lies at `payload`, ending (with its frame) at `next`.
    static func event(_ payload: Range<Int>, next: Int) -> BrokerFrame {
        BrokerFrame(kind: .event, payload: ByteRange(payload), next: next)
    }

    /// A frame without an event that ends at `next`.
    static func other(_ kind: Kind, next: Int) -> BrokerFrame {
        BrokerFrame(kind: kind, payload: ByteRange(start: 0, count: 0), next: next)
    }
}

/// The channel where none is named: brokers have no default.
let brokerChannel = "events"

extension BrokerFrame {
    /// What it is in a stream that stands.
    func finding() -> Finding {
        switch kind {
        case .event: .event(frame: next, payload: payload.range)
        case .subscribed, .notice: .skip(frame: next)
        case .ping: .reply(frame: next)
        case .incomplete: .incomplete
        case .fault: .fault("a refusal, or not this protocol")
        }
    }

    /// What it is to a reader whose subscription does not stand yet.
    func step(_ bytes: Span<UInt8>) -> HandshakeStep {
        switch kind {
        case .subscribed: .done(used: next)
        // Others publish already: the subscription stands, and the stream begins with this.
        case .event: .done(used: 0)
        case .notice, .ping: .step(used: next)
        case .incomplete: .incomplete
        case .fault: .refused("refused, or not this protocol: \(bytes.excerpt)")
        }
    }
}
