/// `GET /v1/lag`: who is behind, by how many events, bytes and milliseconds, and who they are.

import Reactor
import Wire

extension Engine {
    /// How many subscribers a report names, by default and at most: an answer stays below a megabyte.
    static let lagTop = 20
    static let lagTopMax = 1000
    /// Bytes of a subscription's patterns in a report. A single pattern fits always; of more, those that do.
    static let lagChannelBytesMax = 255

    /// How a subscriber is doing, in one word.
    enum LagState: String {
        /// Nothing waits for it.
        case live
        /// Something waits that its socket has not taken yet.
        case behind
        /// It is sent what was published before it came.
        case replaying
        /// It fell behind its limits and gets no event before it has taken what waits; then a `$gap`.
        case skipping
        /// The same, and it is sent the newest event of each key it missed, or the present state, or that will be.
        case conflating
        case resnapshotting
        /// It gets nothing more: its last bytes, `$bye` among them, wait for it.
        case ending
    }

    /// Naming a connection takes two system calls: what that counts as in a turn's work.
    private static let lagNameWork: UInt64 = 64

    /// Answers a request for `/v1/lag`. A walk over all connections, then a few system calls for each one named.
    func answerLag(_ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]) {
        let head = request.head
        guard head.method == .get || head.method == .head else {
            return refuseMethod(slot, head, allow: "GET, HEAD, OPTIONS", fields)
        }
        do throws(HTTPFault) {
            let standings = furthestBehind(try top(of: request))
            hub.extraWork &+= UInt64(delivery.connections.slotsUsed) + UInt64(standings.count) * Self.lagNameWork
            let body = lagJSON(standings)
            respond(
                slot, status: 200, body: body, withBody: head.method != .head, keepAlive: head.keepAlive,
                fields: fields)
        } catch {
            respond(slot, to: head, fault: error, fields: fields)
        }
    }

    /// The subscribers that are furthest behind, the furthest first: by events, then by bytes, then by age.
    /// O(connections).
    func furthestBehind(_ countMax: Int) -> [LagStanding] {
        var ranking = LagRanking(countMax: countMax)
        let now = UInt32(truncatingIfNeeded: loop.now)
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections.records + Int(slot)
            guard connection.pointee.phase == .subscriber else { continue }
            var standing = LagStanding(events: 0, bytes: 0, milliseconds: 0, slot: slot)
            if !connection.pointee.ring.isEmpty {
                standing.events = UInt64(connection.pointee.pendingEvents)
                standing.bytes = connection.pointee.ring.byteCount
                standing.milliseconds = now &- delivery.oldestWaiting(slot)
            }
            if connection.pointee.flags.contains(.skipping) { standing.events += UInt64(connection.pointee.missed) }
            // How many of the past are for a reader with a filter is not known before it is sent them.
            if connection.pointee.flags.intersection([.replaying, .inImage]) == .replaying,
                hub.subscriptions[connection.pointee.group].isEverything
            {
                standing.events += hub.head - connection.pointee.replaySeq
            }
            ranking.offer(standing)
        }
        return ranking.furthestFirst
    }

    /// The state of a connection in the phase `.subscriber`.
    func lagState(_ slot: UInt32) -> LagState {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.endsWhenSent) { return .ending }
        if !connection.pointee.flags.isDisjoint(with: [.skipping, .wasLagging]) {
            switch hub.subscriptions[connection.pointee.group].onLag {
            case .conflate: return .conflating
            case .resnapshot: return .resnapshotting
            case .close, .gap: return .skipping
            }
        }
        if connection.pointee.flags.contains(.replaying) { return .replaying }
        return connection.pointee.ring.isEmpty ? .live : .behind
    }

    /// What `top` asks for. The only parameter, and there once at most.
    private func top(of request: borrowing Request) throws(HTTPFault) -> Int {
        var top: Int?
        for pair in try QueryString.decodedPairs(request.headBytes, request.head.query) {
            guard pair.name.span.equals("top") else {
                throw HTTPFault(
                    status: 400, code: "unknown_parameter", message: "a lag report has top and nothing else")
            }
            guard top == nil, let number = DecimalText.parse(pair.value.span), number > 0, number <= Self.lagTopMax
            else { throw HTTPFault(status: 400, code: "bad_top", message: "top is a number from 1 to 1000, said once") }
            top = Int(number)
        }
        return top ?? Self.lagTop
    }

    // MARK: The answer

    /// `{"head":"<cursor>","subscribers":[…]}` (DESIGN section 9).
    private func lagJSON(_ standings: [LagStanding]) -> [UInt8] {
        var body: [UInt8] = []
        body.append(text: "{\"head\":\"")
        hub.headCursor.append(to: &body)
        body.append(text: "\",\"subscribers\":[")
        for (place, standing) in standings.enumerated() {
            if place > 0 { body.append(text: ",") }
            append(standing, to: &body)
        }
        body.append(text: "]}\n")
        return body
    }

    private func append(_ standing: LagStanding, to body: inout [UInt8]) {
        let connection = delivery.connections.records + Int(standing.slot)
        let socket = delivery.connections.socket(standing.slot)
        body.append(text: "{\"id\":")
        body.append(decimal: lagID(socket))
        body.append(text: ",\"transport\":\"")
        body.append(text: connection.pointee.transport.label)
        body.append(text: "\",\"peer\":")
        JSONText.appendQuoted(loop.peerDescription(of: socket), to: &body)
        body.append(text: ",\"channel\":")
        appendPatterns(of: connection.pointee.group, to: &body)
        body.append(text: ",\"events\":")
        body.append(decimal: standing.events)
        body.append(text: ",\"bytes\":")
        body.append(decimal: UInt64(standing.bytes))
        body.append(text: ",\"ms\":")
        body.append(decimal: UInt64(standing.milliseconds))
        body.append(text: ",\"cursor\":\"")
        let sent = connection.pointee.sentSeq
        let isReplaying = connection.pointee.flags.intersection([.replaying, .inImage]) == .replaying
        Cursor(epoch: hub.epoch, seq: isReplaying ? min(sent, connection.pointee.replaySeq) : sent).append(to: &body)
        body.append(text: "\",\"state\":\"")
        body.append(contentsOf: lagState(standing.slot).rawValue.utf8)
        body.append(text: "\"}")
    }

    /// A number that no other connection has while this one lives, and that few have after it: slot and generation, in
    /// less than the 53 bits that every JSON reader keeps exactly.
    private func lagID(_ socket: SocketID) -> UInt64 {
        UInt64(socket.generation) * UInt64(loop.capacity) + UInt64(socket.slot)
    }

    /// The patterns in their order, joined by commas, which no pattern has; `…` stands for those that do not fit.
    /// `null` for a reader that is ending: its subscription is over.
    private func appendPatterns(of group: UInt32, to body: inout [UInt8]) {
        guard group != Connection.none else { return body.append(text: "null") }
        let patterns = hub.subscriptions[group].patterns.map(\.bytes).sorted { $0.lexicographicallyPrecedes($1) }
        body.append(text: "\"")
        if patterns.isEmpty { body.append(text: "**") }
        var left = Self.lagChannelBytesMax
        for (place, pattern) in patterns.enumerated() {
            guard pattern.count <= left else {
                body.append(text: ",…")
                break
            }
            if place > 0 { body.append(text: ",") }
            body.append(contentsOf: pattern)
            left -= pattern.count + 1
        }
        body.append(text: "\"")
    }
}
