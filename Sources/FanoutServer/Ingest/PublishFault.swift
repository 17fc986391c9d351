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
    /// nil is the highest that the server can give.
    var level: AckLevel?
    /// nil for nearly every publication: it pays for none.
    var conditions: Preconditions?
}

/// A status, a code for programs and a sentence for people.
struct PublishFault: Error, Equatable {
    var status: Int
    var code: String
    var message: String
    /// What a program needs to put it right.
    var detail: ErrorDetail?

    init(_ status: Int, _ code: String, _ message: String, _ detail: ErrorDetail? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
    }

    /// An event that was refused; `line` counts from 1 in a batch.
    init(_ fault: EventFault, line: Int?) {
        let place = line.map { "line \($0), byte \(fault.offset)" } ?? "byte \(fault.offset)"
        self.init(fault.httpStatus, fault.code.rawValue, "\(fault.message) (\(place))")
    }

    /// The same, of a line of a batch: it says which.
    func inLine(_ line: Int?) -> PublishFault {
        guard let line else { return self }
        var fault = self
        fault.message += " (line \(line))"
        return fault
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
    static var behindTheEnd: PublishFault {
        PublishFault(409, "channel_ended", "the event before it is of a kind that ends the channel")
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
        PublishFault(
            400, "bad_envelope",
            "$publish holds an event and, at most, channel, ack, id, expect_last, producer, pepoch and pseq")
    }

    static func unknownParameter(_ name: String) -> PublishFault {
        PublishFault(400, "unknown_parameter", "'\(name)' means nothing here")
    }

    /// The ack level of that name. Whether this server can give it is another question.
    static func level(_ name: String) throws(PublishFault) -> AckLevel {
        guard let level = AckLevel(rawValue: name) else {
            throw PublishFault(400, "bad_ack", "ack is none, accepted, committed or synced")
        }
        return level
    }

    static func levelUnavailable(highest: AckLevel) -> PublishFault {
        PublishFault(
            409, "level_unavailable",
            highest == .accepted
                ? "this channel is held in memory: the highest level is accepted"
                : "this channel is held on one machine: the highest level is \(highest.rawValue)")
    }
    static var storageFull: PublishFault {
        PublishFault(503, "storage_full", "the disk of the database is full: nothing was published, come back later")
    }
    static var storageReadOnly: PublishFault {
        PublishFault(
            503, "storage_readonly", "the database cannot be written to: nothing was published, come back later")
    }
    static var storageFailed: PublishFault {
        PublishFault(503, "storage_failed", "the database has failed: nothing was published")
    }
    static var storageBusy: PublishFault {
        PublishFault(503, "overload", "the database is behind: nothing was published, come back later")
    }

    /// Appends `{"error":{…}}` and a newline.
    func append(to output: inout [UInt8]) {
        ResponseJSON.appendError(code: code, message: message, detail: detail, to: &output)
        output.append(UInt8(ascii: "\n"))
    }
}

/// Why conditions are none, or do not hold.
extension PublishFault {
    static var badKey: PublishFault {
        PublishFault(
            400, "bad_key",
            "a key has 1 to \(Preconditions.nameBytesMax) bytes, in a header of visible ASCII, and there is one")
    }
    static var badCursor: PublishFault {
        PublishFault(
            400, "bad_cursor", "expect_last is, once, 0 or a cursor: 16 hex digits, a hyphen and a number")
    }
    static var badProducer: PublishFault {
        PublishFault(
            400, "bad_producer",
            "a producer is a name of 1 to \(Preconditions.nameBytesMax) bytes, a whole pepoch and a pseq from 1, each "
                + "once and at most \(Preconditions.numberMax)")
    }
    static var idConflict: PublishFault {
        PublishFault(409, "id_conflict", "this key, or this place of the producer's, was used for something else")
    }
    static func lastDiffers(_ last: Cursor?) -> PublishFault {
        PublishFault(
            412, "expect_last", last == nil ? "the channel has no event" : "the channel's newest event is another one",
            .last(last))
    }
    static func producerGap(expected: UInt64) -> PublishFault {
        PublishFault(
            409, "producer_gap", "the producer's next event is number \(expected)", .expected(expected))
    }
    static func producerFenced(by epoch: UInt64) -> PublishFault {
        PublishFault(
            409, "fenced", "the producer has published with pepoch \(epoch): this one has been replaced",
            .producerEpoch(epoch))
    }
    static var tooManyProducers: PublishFault {
        PublishFault(
            503, "too_many_producers",
            "no more producers can be remembered: \(ProducerTable.countMax) are, or their share of --max-memory is "
                + "used up")
    }
}
