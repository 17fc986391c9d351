/// `/v1/channels`: which channels there are, and declaring and ending them while the server runs.

import Reactor
import Wire

extension Engine {
    /// Answers a request for `/v1/channels`.
    func answerChannels(_ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]) {
        let head = request.head
        var status = 200
        var body: [UInt8] = []
        let changesBefore = hub.outgoing.count
        do throws(PublishFault) {
            switch head.method {
            case .get, .head:
                guard hasMemory(for: MemoryFormula.channelListBytesMax(hub.channels)) else {
                    memory.refusals &+= 1
                    throw PublishFault(503, "overload", "no memory is left for a list of all channels: come back later")
                }
                body = channelsJSON()
            case .put:
                let name = try channelNamed(request)
                if hub.records, let index = hub.channels.index(of: name), hub.channels[index].hasEnded {
                    try checkStorage()
                }
                status = try declare(name) ? 201 : 200
                if let index = hub.channels.index(of: name) { append(index, to: &body) }
            case .delete:
                guard let index = hub.channels.index(of: try channelNamed(request)) else { throw .noSuchChannel }
                if hub.records { try checkStorage() }
                try endChannel(index)
                append(index, to: &body)
            default:
                return refuseMethod(slot, head, allow: "GET, HEAD, PUT, DELETE, OPTIONS", fields)
            }
            if head.method != .get, head.method != .head { body.append(UInt8(ascii: "\n")) }
        } catch {
            status = error.status
            error.append(to: &body)
        }
        if hub.outgoing.count > changesBefore {
            return answerChanged(slot, status: status, body: body, keepAlive: head.keepAlive, fields)
        }
        respond(
            slot, status: status, body: body, withBody: head.method != .head, keepAlive: head.keepAlive, fields: fields)
    }

    /// Listening sockets. Each takes a descriptor that a reader could have, and who declares channels may be anybody.
    static let listenersMax = 1024
    /// What making or removing a socket file counts as in a turn's work: it takes a millisecond or so.
    static let socketWork: UInt64 = 16_384

    /// Declares a channel: it exists, and its ingest sockets appear. True if it was not declared before; a channel that
    /// had ended begins anew.
    func declare(_ name: ChannelName) throws(PublishFault) -> Bool {
        // A channel that is refused its sockets is not made, nor begun anew.
        let missing = missingSockets(of: name)
        guard listenersOpen + missing.count <= Self.listenersMax else { throw .tooManySockets }
        guard let index = hub.channel(name) else { throw .tooManyChannels }
        let hadEnded = hub.reopen(index)
        guard !missing.isEmpty else { return hadEnded }
        let isDeclared = hasSocket(index, at: sockets?.place(RuntimeSockets.ingestPath(name)))
        do throws(StartError) {
            try openIngest(index, missing)
        } catch {
            throw PublishFault(503, "cannot_create", error.message)
        }
        return hadEnded || !isDeclared
    }

    /// Ends a channel: its ingest sockets go, readers of nothing else get `$bye` 1000, publishing is refused.
    func endChannel(_ index: UInt32) throws(PublishFault) {
        guard hub.channels[index].name != .standard else {
            throw PublishFault(409, "channel_permanent", "the default channel cannot be ended")
        }
        let isOver = hub.end(index)
        closeIngest(of: index)
        if isOver { sayEnded() }
    }

    /// Nothing more is read of those who may write to this channel only, and nobody comes there any more.
    func closeIngest(of index: UInt32) {
        for place in listeners.indices where listeners[place].kind == .ingest(channel: index, fixed: true) {
            closeIngest(place)
        }
        hub.extraWork &+= UInt64(delivery.connections.slotsUsed)
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections.records + Int(slot)
            if connection.pointee.phase == .ingest, connection.pointee.group == index,
                connection.pointee.flags.contains(.channelFixed)
            {
                endWhenSent(slot)
            }
        }
    }

    /// A channel is over: whoever reads nothing else is told.
    func sayEnded() {
        hub.extraWork &+= UInt64(delivery.connections.slotsUsed)
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections.records + Int(slot)
            // Who replays gets the rest first.
            guard connection.pointee.isLive, !connection.pointee.flags.contains(.replaying) else { continue }
            if hub.hasEnded(hub.subscriptions[connection.pointee.group].patterns) { bye(slot, .ended) }
        }
    }

    private func channelNamed(_ request: borrowing Request) throws(PublishFault) -> ChannelName {
        let pairs: [(name: [UInt8], value: [UInt8])]
        do throws(HTTPFault) {
            pairs = try QueryString.decodedPairs(request.headBytes, request.head.query)
        } catch {
            throw PublishFault(error)
        }
        guard let pair = pairs.first, pairs.count == 1, String(decoding: pair.name, as: UTF8.self) == "channel"
        else { throw .badChannel }
        let text = pair.value
        guard let name = ChannelName(text.span) else { throw .badChannel }
        return name
    }

    /// `{"channels":[{"channel":…,"events":…,"subscribers":…,"head":"<cursor>"}]}`, sorted by name; what keeps
    /// state has `"state":<rows>` too.
    private func channelsJSON() -> [UInt8] {
        hub.extraWork &+= UInt64(hub.channels.count)
        var order = Array(0..<UInt32(hub.channels.count))
        order.sort { hub.channels[$0].name.bytes.lexicographicallyPrecedes(hub.channels[$1].name.bytes) }
        var body: [UInt8] = []
        body.append(text: "{\"channels\":[")
        for (place, index) in order.enumerated() {
            if place > 0 { body.append(text: ",") }
            append(index, to: &body)
        }
        body.append(text: "]}\n")
        return body
    }

    private func append(_ index: UInt32, to body: inout [UInt8]) {
        body.append(text: "{\"channel\":\"")
        body.append(contentsOf: hub.channels[index].name.bytes)
        body.append(text: "\",\"events\":")
        body.append(decimal: hub.channels[index].eventCount)
        body.append(text: ",\"subscribers\":")
        body.append(decimal: hub.subscriberCount(of: index))
        body.append(text: ",\"head\":\"")
        Cursor(epoch: hub.epoch, seq: hub.channels[index].lastSeq).append(to: &body)
        body.append(UInt8(ascii: "\""))
        if hub.keepsState(index) {
            body.append(text: ",\"state\":")
            body.append(decimal: hub.stateRowCount(of: index))
        }
        body.append(text: hub.channels[index].hasEnded ? ",\"ended\":true}" : "}")
    }
}
