/// Why a publish was refused, over HTTP and, line for line, on ingest sockets.

import Wire

/// Where an event is to go: a channel that exists, or a name that becomes one with its first event.
enum Destination {
    case channel(UInt32)
    case name(ChannelName)
}

/// What a publish asked for beside the event.
struct PublishOptions {
    var destination: Destination
    var level: AckLevel
}

/// A status, a code for programs and a sentence for people.
struct PublishFault: Error, Equatable {
    var status: Int
    var code: String
    var message: String

    init(_ status: Int, _ code: String, _ message: String) {
        self.status = status
        self.code = code
        self.message = message
    }

    /// An event that was refused; `line` counts from 1 in a batch.
    init(_ fault: EventFault, line: Int?) {
        let place = line.map { "line \($0), byte \(fault.offset)" } ?? "byte \(fault.offset)"
        self.init(fault.httpStatus, fault.code.rawValue, "\(fault.message) (\(place))")
    }

    init(_ fault: HTTPFault) {
        self.init(fault.status, fault.code.description, fault.message.description)
    }

    static var badChannel: PublishFault {
        PublishFault(400, "bad_channel", "a channel is segments of A-Z a-z 0-9 . _ ~ - joined by /, 255 bytes at most")
    }
    static var oneChannel: PublishFault { PublishFault(400, "bad_channel", "an event goes to one channel") }
    static var tooManyChannels: PublishFault {
        PublishFault(
            503, "too_many_channels",
            "no more channels can be made: \(ChannelTable.channelsMax) exist, or their share of --max-memory is used up"
        )
    }
    static var tooManySockets: PublishFault {
        PublishFault(
            503, "too_many_sockets", "\(Engine.listenersMax) sockets are open: end a channel, or publish over HTTP")
    }
    static var channelEnded: PublishFault {
        PublishFault(409, "channel_ended", "the channel has ended: PUT /v1/channels declares it anew")
    }
    static var noSuchChannel: PublishFault { PublishFault(404, "no_such_channel", "there is no channel of that name") }
    static var channelFixed: PublishFault {
        PublishFault(403, "channel_fixed", "this socket publishes to its own channel only")
    }
    static var mediaType: PublishFault {
        PublishFault(
            415, "unsupported_media_type",
            "send application/json (one event) or application/x-ndjson (a batch), without a Content-Encoding")
    }
    static var batchTooLarge: PublishFault {
        PublishFault(413, "batch_too_large", "a batch holds at most \(Staging.eventsMax) events")
    }
    static var emptyBatch: PublishFault { PublishFault(400, "empty_batch", "the batch holds no event") }
    static var badEnvelope: PublishFault {
        PublishFault(400, "bad_envelope", "$publish holds an event and, at most, channel and ack")
    }

    static func unsupported(_ name: String) -> PublishFault {
        PublishFault(501, "unsupported", "\(name) is not supported by this version")
    }

    static func unknownParameter(_ name: String) -> PublishFault {
        PublishFault(400, "unknown_parameter", "'\(name)' means nothing here")
    }

    /// The ack level of that name, if this server can give it.
    static func level(_ name: String) throws(PublishFault) -> AckLevel {
        guard let level = AckLevel(rawValue: name) else {
            throw PublishFault(400, "bad_ack", "ack is none, accepted, committed or synced")
        }
        guard level == .none || level == .accepted else {
            throw PublishFault(
                409, "level_unavailable", "this channel is held in memory: the highest level is accepted")
        }
        return level
    }

    /// Appends `{"error":{…}}` and a newline.
    func append(to output: inout [UInt8]) {
        ResponseJSON.appendError(code: code, message: message, to: &output)
        output.append(UInt8(ascii: "\n"))
    }
}
