/// `GET /v1/schema`: what events of a channel look like, or of all that have a schema.

import Wire

extension Engine {
    /// Answers a request for `/v1/schema`.
    func answerSchema(_ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]) {
        let head = request.head
        guard head.method == .get || head.method == .head else {
            return refuseMethod(slot, head, allow: "GET, HEAD, OPTIONS", fields)
        }
        var status = 200
        var body: [UInt8] = []
        var fields = fields
        do throws(PublishFault) {
            if let name = try channelAsked(request) {
                guard let schema = hub.eventRules(of: name).checks?.schema else { throw .noSchema }
                try require(schema.text.count)
                body = schema.text
                let hash = String(decoding: schema.digest.hex, as: UTF8.self)
                fields.append(HTTPResponse.Field("ETag", "\"\(hash)\""))
                fields.append(HTTPResponse.Field("Fanout-Schema", hash))
            } else {
                try require(hub.rules.schemas.reduce(0) { $0 + $1.schema.text.count + $1.pattern.bytes.count + 128 })
                body = schemasJSON()
            }
            body.append(UInt8(ascii: "\n"))
        } catch {
            status = error.status
            error.append(to: &body)
        }
        respond(
            slot, status: status, body: body, withBody: head.method != .head, keepAlive: head.keepAlive,
            cacheControl: "no-cache", fields: fields)
    }

    private func require(_ bytes: Int) throws(PublishFault) {
        // As text, and as the answer.
        guard hasMemory(for: bytes * 2) else {
            memory.refusals &+= 1
            throw PublishFault(503, "overload", "no memory is left for schemas: come back later")
        }
    }

    /// The channel that is asked about; nil where none is named.
    private func channelAsked(_ request: borrowing Request) throws(PublishFault) -> ChannelName? {
        let pairs: [(name: [UInt8], value: [UInt8])]
        do throws(HTTPFault) {
            pairs = try QueryString.decodedPairs(request.headBytes, request.head.query)
        } catch {
            throw PublishFault(error)
        }
        var name: ChannelName?
        for pair in pairs {
            guard pair.name.elementsEqual("channel".utf8) else {
                throw .unknownParameter(String(decoding: pair.name, as: UTF8.self))
            }
            let value = pair.value
            guard name == nil, let channel = ChannelName(value.span) else { throw .badChannel }
            name = channel
        }
        return name
    }

    /// `{"schemas":[{"pattern":…,"mode":…,"hash":…,"schema":…}]}`, the most specific pattern first.
    private func schemasJSON() -> [UInt8] {
        var body: [UInt8] = []
        body.append(text: "{\"schemas\":[")
        for (place, entry) in hub.rules.schemas.enumerated() {
            body.append(text: place > 0 ? ",{\"pattern\":\"" : "{\"pattern\":\"")
            body.append(contentsOf: entry.pattern.bytes)
            body.append(text: "\",\"mode\":\"")
            body.append(contentsOf: entry.schema.mode.rawValue.utf8)
            body.append(text: "\",\"hash\":\"")
            body.append(contentsOf: entry.schema.digest.hex)
            body.append(text: "\",\"schema\":")
            body.append(contentsOf: entry.schema.text)
            body.append(text: "}")
        }
        body.append(text: "]}")
        return body
    }
}

extension PublishFault {
    static var noSchema: PublishFault {
        PublishFault(404, "no_schema", "the channel has no schema: its events are any JSON objects")
    }
}
