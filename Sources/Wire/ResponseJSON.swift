/// The small JSON objects that publishers get back: errors and acks (DESIGN section 9).

/// How far an acked event has come, and hence what it survives.
package enum AckLevel: String, CaseIterable, Sendable {
    /// Not asked for: the answer says nothing.
    case none
    /// In memory and on its way to subscribers.
    case accepted
    /// In the database: survives the process.
    case committed
    /// On the disk: survives a power cut.
    case synced
    /// In the cluster's stream.
    case replicated
}

/// What an ack says.
package struct Ack: Sendable {
    /// The event's place; for a batch that of the last event.
    package var last: Cursor
    /// For a batch: the place of its first event, and how many there are.
    package var batch: (first: Cursor, count: Int)?
    /// How far the event had come when this was said.
    package var level: AckLevel
    /// Whether the key had been used for the same event before, whose cursor this is then.
    package var isDuplicate: Bool
    /// False for a repetition of something so old that its place is not known any more; `last` and the batch's first
    /// are not said then.
    package var isPlaceKnown: Bool
    /// Subscribers that the event went to.
    package var subscribers: Int
    /// Subscribers of these that are behind.
    package var behind: Int

    package init(
        last: Cursor, batch: (first: Cursor, count: Int)? = nil, level: AckLevel, isDuplicate: Bool = false,
        isPlaceKnown: Bool = true, subscribers: Int, behind: Int
    ) {
        self.last = last
        self.batch = batch
        self.level = level
        self.isDuplicate = isDuplicate
        self.isPlaceKnown = isPlaceKnown
        self.subscribers = subscribers
        self.behind = behind
    }
}

/// One place where an event does not fit its channel's schema, as RFC 8927 names it.
package struct SchemaError: Hashable, Sendable {
    /// Where in the event: a JSON Pointer (RFC 6901).
    package let instance: String
    /// What in the schema: likewise.
    package let schema: String

    package init(instance: String, schema: String) {
        self.instance = instance
        self.schema = schema
    }
}

/// What an error says for programs beside its code.
package enum ErrorDetail: Equatable, Sendable {
    /// `last`: the cursor of the channel's newest event; `0` where it has none.
    case last(Cursor?)
    /// `expected`: the number that a producer has to go on with.
    case expected(UInt64)
    /// `pepoch`: the producer's present incarnation.
    case producerEpoch(UInt64)
    /// `errors`: where an event does not fit.
    case schema([SchemaError])
}

/// Appends answers, each one object without white space and without a newline.
package enum ResponseJSON {
    /// `{"error":{"code":"…","message":"…"}}`; code and message are escaped. A detail is a third member.
    package static func appendError(
        code: String, message: String, detail: ErrorDetail? = nil, to output: inout [UInt8]
    ) {
        output.append(text: "{\"error\":{\"code\":")
        JSONText.appendQuoted(code, to: &output)
        output.append(text: ",\"message\":")
        JSONText.appendQuoted(message, to: &output)
        if let detail { append(detail, to: &output) }
        output.append(text: "}}")
    }

    private static func append(_ detail: ErrorDetail, to output: inout [UInt8]) {
        switch detail {
        case .last(let cursor):
            output.append(text: ",\"last\":\"")
            if let cursor { cursor.append(to: &output) } else { output.append(text: "0") }
            output.append(text: "\"")
        case .expected(let number):
            output.append(text: ",\"expected\":")
            output.append(decimal: number)
        case .producerEpoch(let number):
            output.append(text: ",\"pepoch\":")
            output.append(decimal: number)
        case .schema(let errors):
            output.append(text: ",\"errors\":[")
            for (place, error) in errors.enumerated() {
                output.append(text: place > 0 ? ",{\"instance\":" : "{\"instance\":")
                JSONText.appendQuoted(error.instance, to: &output)
                output.append(text: ",\"schema\":")
                JSONText.appendQuoted(error.schema, to: &output)
                output.append(text: "}")
            }
            output.append(text: "]")
        }
    }

    /// The error for an event that was refused; the message says at which byte, counted from 0.
    package static func appendError(_ fault: EventFault, to output: inout [UInt8]) {
        appendError(code: fault.code.rawValue, message: "\(fault.message) (byte \(fault.offset))", to: &output)
    }

    /// `{"cursor":"<e>-42","seq":42,"level":"accepted","dup":false,"subscribers":3,"behind":0}`, for a batch with
    /// `"first":"<e>-40","count":3` behind it; with level `none` only `{"level":"none"}`. A place that is not known is
    /// `null`.
    package static func appendAck(_ ack: Ack, to output: inout [UInt8]) {
        if ack.level == .none { return output.append(text: "{\"level\":\"none\"}") }
        if ack.isPlaceKnown {
            output.append(text: "{\"cursor\":\"")
            ack.last.append(to: &output)
            output.append(text: "\",\"seq\":")
            output.append(decimal: ack.last.seq)
        } else {
            output.append(text: "{\"cursor\":null,\"seq\":null")
        }
        output.append(text: ",\"level\":\"")
        output.append(contentsOf: ack.level.rawValue.utf8)
        output.append(text: ack.isDuplicate ? "\",\"dup\":true" : "\",\"dup\":false")
        output.append(text: ",\"subscribers\":")
        output.append(decimal: ack.subscribers)
        output.append(text: ",\"behind\":")
        output.append(decimal: ack.behind)
        if let batch = ack.batch {
            if ack.isPlaceKnown {
                output.append(text: ",\"first\":\"")
                batch.first.append(to: &output)
                output.append(text: "\",\"count\":")
            } else {
                output.append(text: ",\"first\":null,\"count\":")
            }
            output.append(decimal: batch.count)
        }
        output.append(text: "}")
    }
}
