/// Answers that wait until the database has what they speak of: one queue, in the order of the requests.

import Planted
import Reactor
import Wire

/// An answer to one publisher, or to one who has changed a channel.
struct WaitingAnswer {
    enum Form: UInt8 {
        /// The answer to an HTTP request.
        case response
        /// A line of an ingest socket.
        case line
        /// Bytes that wait only for what stands before them.
        case bytes
        /// The answer to a request that has changed a channel: `status`, with `bytes` as its body.
        case change
    }

    /// Whom it is for. Its slot may be somebody else's by the time.
    var socket: SocketID
    var form: Form
    /// What it says, and how sure the database has to be of the last event.
    var receipt = Hub.Receipt()
    var level = AckLevel.none
    var isBatch = false
    var keepAlive = false
    var fields: [HTTPResponse.Field] = []
    var bytes: [UInt8] = []
    var status = 200
    /// How many publications and changes the database has to have.
    var entries: UInt64 = 0
}

/// The queue. Nobody waits in it for a level that was not asked for: the database stores events in the order of their
/// numbers, and a transaction that anybody wants on the disk is there as a whole before the next one begins.
struct WaitingAnswers {
    /// With so many waiting, publishers rest.
    static let countPressing = 32_768
    /// Answers of one writer that wait; with more its lines do. An HTTP client has one.
    static let perWriterMax: UInt32 = 1024
    /// Places that are kept when nothing waits.
    private static let placesKept = 4096

    private var answers: [WaitingAnswer] = []
    /// Answers at the front that were taken already.
    private var taken = 0
    /// Bytes that answers have beside their places.
    private var looseBytes = 0

    var count: Int { answers.count - taken }

    /// What they hold in memory.
    var bytesHeld: Int { answers.capacity * MemoryLayout<WaitingAnswer>.stride + looseBytes }

    private static func looseBytes(_ answer: WaitingAnswer) -> Int { answer.bytes.count + answer.fields.count * 64 }

    mutating func append(_ answer: WaitingAnswer) {
        looseBytes += Self.looseBytes(answer)
        answers.append(answer)
    }

    /// Takes the oldest answer, if it need not wait any longer: everything up to `committed` and `synced` is stored,
    /// and so many `entries`. O(1) on average.
    mutating func next(committed: UInt64, synced: UInt64, entries: UInt64) -> WaitingAnswer? {
        guard taken < answers.count else { return nil }
        let isDue =
            switch answers[taken].form {
            case .response, .line:
                answers[taken].receipt.last <= (answers[taken].level == .synced ? synced : committed)
            case .change: answers[taken].entries <= entries
            case .bytes: true
            }
        guard isDue else { return nil }
        let answer = answers[taken]
        looseBytes -= Self.looseBytes(answer)
        answers[taken].fields = []
        answers[taken].bytes = []
        taken += 1
        // What was taken goes when it is the larger part: each answer is moved once on average.
        if taken == answers.count {
            answers.removeAll(keepingCapacity: answers.capacity <= Self.placesKept)
            taken = 0
        } else if taken >= Self.placesKept, taken * 2 >= answers.count {
            answers.removeFirst(taken)
            taken = 0
        }
        return answer
    }
}

extension Engine {
    /// Answers a request to publish: now, or when the database has what the level promises. Until then the connection
    /// takes nothing more, so that answers keep the order of their requests.
    ///
    /// The receipt may be that of an earlier publication which is repeated.
    func answerPublished(
        _ slot: UInt32, _ receipt: Hub.Receipt, _ level: AckLevel, isBatch: Bool, keepAlive: Bool,
        _ fields: [HTTPResponse.Field]
    ) {
        let socket = delivery.connections.socket(slot)
        let answer = WaitingAnswer(
            socket: socket, form: .response, receipt: receipt, level: level, isBatch: isBatch, keepAlive: keepAlive,
            fields: fields)
        guard mustWait(receipt, level) else { return respond(answer) }
        wait(answer)
        pauseInput(slot)
    }

    /// The same for a line of an ingest socket. Others may follow it before it is answered.
    func answerPublished(_ slot: UInt32, _ receipt: Hub.Receipt, _ level: AckLevel) {
        guard mustWait(receipt, level) else {
            writeLine(receipt, level)
            return sayInOrder(slot)
        }
        let socket = delivery.connections.socket(slot)
        wait(WaitingAnswer(socket: socket, form: .line, receipt: receipt, level: level))
    }

    /// Answers a request that has changed a channel when the database has that, and until then takes nothing more.
    func answerChanged(
        _ slot: UInt32, status: Int, body: [UInt8], keepAlive: Bool, _ fields: [HTTPResponse.Field]
    ) {
        guard let given = storage?.given else { return }
        wait(
            WaitingAnswer(
                socket: delivery.connections.socket(slot), form: .change, keepAlive: keepAlive, fields: fields,
                bytes: body, status: status, entries: given + UInt64(hub.outgoing.count)))
        pauseInput(slot)
    }

    /// Queues what was written to `scratch` for one writer, behind its answers that wait.
    func sayInOrder(_ slot: UInt32) {
        guard delivery.connections[slot].isAwaiting, !isPlanted("answerOvertakes") else {
            return sayScratch(slot)
        }
        wait(WaitingAnswer(socket: delivery.connections.socket(slot), form: .bytes, bytes: scratch))
    }

    /// Whether an answer has to wait for the database.
    private func mustWait(_ receipt: Hub.Receipt, _ level: AckLevel) -> Bool {
        guard hub.records, level == .committed || level == .synced else { return false }
        return receipt.last > (level == .synced ? visiblySynced : visiblyCommitted)
    }

    /// What is stored and can be seen: whoever is told that an event is stored finds it.
    private var visiblyCommitted: UInt64 {
        isPlanted("ackBeforeCommit") ? hub.head : min(storage?.committed ?? 0, hub.head)
    }
    private var visiblySynced: UInt64 {
        isPlanted("ackBeforeSync") ? visiblyCommitted : min(storage?.synced ?? 0, hub.head)
    }

    private func nextAnswer() -> WaitingAnswer? {
        let (committed, synced) = (visiblyCommitted, visiblySynced)
        let entries = storage?.counts.entries ?? 0
        return storage?.waiting.next(committed: committed, synced: synced, entries: entries)
    }

    private func wait(_ answer: WaitingAnswer) {
        // What is repeated may have been stored for somebody who asked for less: the disk may not have it, and nothing
        // that is to be stored would bring it there.
        if answer.receipt.isDuplicate, answer.level == .synced, !isPlanted("repetitionNotSynced") {
            hub.outgoing.sync()
        }
        storage?.waiting.append(answer)
        delivery.connections[answer.socket.slot].waitingAnswers += 1
    }

    /// The database has done more: answers leave in their order. Those for whom nobody waits any more are dropped.
    func releaseAnswers() {
        while let answer = nextAnswer() {
            let slot = answer.socket.slot
            let connection = delivery.connections.records + Int(slot)
            guard connection.pointee.socket == answer.socket, connection.pointee.isAwaiting else { continue }
            connection.pointee.waitingAnswers -= 1
            switch answer.form {
            case .response: respond(answer)
            case .change: respond(answer, status: answer.status, body: answer.bytes)
            case .line:
                writeLine(answer.receipt, answer.level)
                turnInputBytes += scratch.count
                sayScratch(slot)
            case .bytes:
                turnInputBytes += answer.bytes.count
                delivery.say(slot, answer.bytes.span)
            }
            goOn(slot)
        }
    }

    /// A connection has got an answer that it waited for.
    func goOn(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.endsWhenSent) {
            if connection.pointee.waitingAnswers == 0 { setDeadline(slot, in: Limits.byeMilliseconds) }
        } else if connection.pointee.waitingAnswers <= WaitingAnswers.perWriterMax / 2,
            connection.pointee.flags.contains(.inputPaused), !connection.pointee.flags.contains(.inputDeferred)
        {
            resumeInput(slot)
        }
    }

    private func respond(_ answer: WaitingAnswer) {
        self.answer.removeAll(keepingCapacity: true)
        ResponseJSON.appendAck(ack(answer.receipt, answer.level, isBatch: answer.isBatch), to: &self.answer)
        self.answer.append(UInt8(ascii: "\n"))
        respond(answer, status: answer.level == .none ? 202 : 200, body: self.answer)
    }

    private func respond(_ answer: WaitingAnswer, status: Int, body: [UInt8]) {
        // What came behind the request and could not be kept was thrown away.
        let isLast = delivery.connections[answer.socket.slot].flags.contains(.skipsLine)
        respond(
            answer.socket.slot, status: status, body: body, keepAlive: answer.keepAlive && !isLast,
            fields: answer.fields)
    }

    private func writeLine(_ receipt: Hub.Receipt, _ level: AckLevel) {
        scratch.removeAll(keepingCapacity: true)
        ResponseJSON.appendAck(ack(receipt, level, isBatch: false), to: &scratch)
        scratch.append(UInt8(ascii: "\n"))
    }
}
