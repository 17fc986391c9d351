/// A publisher that sends again what was not answered, over as many connections as it takes.

import Glibc

/// Gives every event a key, holds it until it is answered, and sends it again with the same key where the connection
/// was lost or the server could not take it just then: the server publishes it once. Used by one thread at a time.
///
/// Events are sent in their order, and again in their order. Only what a server refused for the moment, a full disk for
/// instance, may come behind events that were on their way to it at the same time.
///
/// A server that does not know keys gets events without them; then an event whose answer was lost is an error, because
/// sending it again might publish it twice.
public struct RetryingEmitter: ~Copyable {
    /// What the server says about one event.
    public struct Verdict: Sendable {
        /// The number that the event was submitted with.
        public let tag: Int
        /// What the server answered.
        public let answer: EventEmitter.Answer
    }

    /// An event that has no answer yet.
    private struct Held {
        let line: [UInt8]
        let tag: Int
        let key: String
        /// The caller's keys are sent to every server.
        let isCallersKey: Bool
        /// When it was sent first, in milliseconds.
        var firstSent: UInt64?
        /// The key went with it, the last time that it was sent.
        var wentWithKey = false
        /// Where it begins among the bytes of the connection that it was sent on last.
        var beginsAt: UInt64 = 0
        /// A connection was lost while it waited for its answer: it may have been published.
        var isUncertain = false
        /// The answer that it got is not its last.
        var refusal: EventEmitter.Answer?
    }

    /// How long an event may go on being sent again: servers remember keys for 10 minutes, of which one is left for the
    /// way and for clocks.
    public static let repeatMillisecondsMax = 9 * 60_000
    /// The longest wait between two attempts of its own accord. 1 s: somebody waits for the answer.
    private static let delayMillisecondsMax = 1_000

    private let endpoint: Endpoint
    private let options: EventEmitter.Options
    private var emitter: EventEmitter
    /// True exactly when there is a connection, as far as is known.
    private var isOpen = true
    /// From `head` on: what was sent, up to `sentEnd`, then what waits to be.
    private var events: [Held] = []
    private var head = 0
    private var sentEnd = 0
    private var heldBytes = 0
    /// How many of those that were sent have been refused for now. While there are any nothing else is sent, so that
    /// they are not overtaken by more than what was on its way already.
    private var refused = 0
    private var knowsKeys = true
    private var keys = KeySource()
    /// When the next attempt may be made.
    private var retryAt: UInt64 = 0
    private var backoff = Backoff(ceilingMilliseconds: delayMillisecondsMax)
    private var generator = SystemRandomNumberGenerator()
    /// Why there is no connection.
    private var reason: ClientError?
    /// What was sent has been sent before: that it goes out is no sign that the server gets on.
    private var isRepeating = false

    /// Rises when the server has answered or, the first time, taken something: a sign that waiting is worth it.
    public private(set) var progress: UInt64 = 0

    private let repeatMilliseconds: UInt64

    /// Connects. The first connection is made at once or not at all.
    /// - Parameter repeatMilliseconds: how long after its first attempt an event may be sent again.
    /// - Throws: `unreachable` or `timedOut`.
    public init(
        _ endpoint: Endpoint, _ options: EventEmitter.Options, repeatMilliseconds: Int = repeatMillisecondsMax
    ) throws(ClientError) {
        self.endpoint = endpoint
        self.options = options
        self.repeatMilliseconds = UInt64(max(0, repeatMilliseconds))
        emitter = try EventEmitter(endpoint, options)
    }

    /// The tags of the oldest and the newest event without an answer, nil where there is none.
    public var unanswered: ClosedRange<Int>? {
        guard head < events.count, let last = events.last else { return nil }
        return min(events[head].tag, last.tag)...max(events[head].tag, last.tag)
    }

    /// The key of the oldest event that may or may not have been published; nil where none can help.
    public var uncertainKey: String? {
        guard head < events.count, events[head].wentWithKey, events[head].refusal == nil else { return nil }
        return events[head].key
    }

    /// True exactly when all is sent and answered.
    public var isIdle: Bool { head == events.count && (!isOpen || emitter.isIdle) }

    /// True exactly when `submit` may be called without more being held than the limits of `EventEmitter`.
    public var hasRoom: Bool {
        events.count - head < EventEmitter.outstandingMax && heldBytes < EventEmitter.pendingBytesMax
            && (isOpen ? emitter.pendingBytes < EventEmitter.pendingBytesMax : retries)
    }

    /// Queues one event; `exchange` sends it. `tag` comes back with its answer.
    /// - Throws: `invalidInput` where the event is not one JSON object or the key cannot be sent.
    public mutating func submit(_ event: [UInt8], key: String? = nil, tag: Int = 0) throws(ClientError) {
        let line = try EventText.singleLine(event)
        if let key { try EventText.check(key: key) }
        guard emitter.answersEvents else { return emitter.enqueue(line, key: key) }
        if head > events.count / 2 {
            events.removeFirst(head)
            sentEnd -= head
            head = 0
        }
        heldBytes += line.count
        events.append(Held(line: line, tag: tag, key: key ?? keys.next(), isCallersKey: key != nil))
        send()
    }

    /// Publishes one event and waits for its answer until `deadline`, sending it again where that helps; nil where no
    /// answer is waited for (`Level.none`).
    /// - Throws: as `exchange`.
    public mutating func emit(
        _ event: [UInt8], key: String? = nil, until deadline: UInt64
    ) throws(ClientError) -> EventEmitter.Answer? {
        try submit(event, key: key)
        if !retries { try finish(until: deadline) }
        while retries {
            if let verdict = try nextAnswer() { return verdict.answer }
            try exchange(until: deadline)
        }
        return nil
    }

    /// The next answer that has arrived; nil when there is none yet. One after which the event is sent again is kept.
    public mutating func nextAnswer() throws(ClientError) -> Verdict? {
        while let answer = try emitter.nextAnswer() {
            guard let index = events[head..<sentEnd].firstIndex(where: { $0.refusal == nil }) else {
                // A server that speaks without having been asked closes next, which says what there is to know.
                continue
            }
            if retries, let fault = answer.fault, isWorthAnother(fault, events[index]) {
                refuse(index, answer, fault)
                continue
            }
            progress &+= 1
            backoff.reset()
            isRepeating = false
            return Verdict(tag: remove(index), answer: answer)
        }
        return nil
    }

    /// Sends and receives until something has moved or `other`, a descriptor, can be read; connects again where there
    /// is something to send and no connection. Returns at once when there is nothing to wait for.
    /// - Returns: whether `other` can be read.
    /// - Throws: at the deadline (milliseconds of CLOCK_MONOTONIC; nil only where nothing is due) what has kept the
    ///   events from being answered: the server's refusal, or `timedOut` or `lost`, whose message says whether they may
    ///   have been published.
    @discardableResult
    public mutating func exchange(alsoReadable other: Int32? = nil, until deadline: UInt64?) throws(ClientError) -> Bool
    {
        if isIdle, other == nil { return false }
        if isOpen, refused > 0, sentEnd - head == refused { releaseRefused(at: Clock.now) }
        if isOpen, refused > 0, sentEnd - head == refused {
            return try pause(other, until: deadline)
        }
        guard isOpen else {
            if head == events.count { return Self.wait(other, until: deadline) }
            if Clock.now < retryAt { return try pause(other, until: deadline) }
            try reconnect(until: deadline)
            return false
        }
        if retries, emitter.isEnded {
            try lose(ClientError(.lost, "\(endpoint) closed the connection"))
            return false
        }
        send()
        let before = emitter.writtenBytes
        do throws(ClientError) {
            let isReadable = try emitter.move(alsoReadable: other, until: deadline)
            if !isRepeating { progress &+= emitter.writtenBytes - before }
            return isReadable
        } catch {
            guard retries, error.kind == .lost else { throw tellingFate(error) }
            try lose(error)
            return false
        }
    }

    /// Sends what is queued and says that nothing more will come. To be called when all is answered.
    public mutating func finish(until deadline: UInt64) throws(ClientError) {
        if isOpen { try emitter.finish(until: deadline) }
    }

    /// Whether answers are waited for, and so may be missed.
    private var retries: Bool { options.level != EventEmitter.Level.none }
}

// MARK: - Sending again

extension RetryingEmitter {
    /// Hands over what waits, in order, for as long as there is room.
    private mutating func send() {
        guard isOpen, !emitter.isEnded, refused == 0 else { return }
        while sentEnd < events.count, emitter.hasRoom {
            let isKeyed = retries ? knowsKeys || events[sentEnd].isCallersKey : events[sentEnd].isCallersKey
            events[sentEnd].beginsAt = emitter.queuedBytes
            emitter.enqueue(events[sentEnd].line, key: isKeyed ? events[sentEnd].key : nil)
            events[sentEnd].wentWithKey = isKeyed
            if events[sentEnd].firstSent == nil { events[sentEnd].firstSent = Clock.now }
            sentEnd += 1
        }
    }

    private mutating func remove(_ index: Int) -> Int {
        let event = index == head ? events[head] : events.remove(at: index)
        heldBytes -= event.line.count
        if index == head { head += 1 } else { sentEnd -= 1 }
        if head == events.count {
            events.removeAll(keepingCapacity: true)
            head = 0
            sentEnd = 0
        }
        return event.tag
    }

    /// Whether an event that was refused so is to be sent again.
    private func isWorthAnother(_ fault: ClientError, _ event: Held) -> Bool {
        fault.isRefusalForNow || isUnknownKey(fault, event)
    }

    /// Whether the refusal is of the key that this type has put there, not of anything that the caller wished for.
    private func isUnknownKey(_ fault: ClientError, _ event: Held) -> Bool {
        guard case .refused("unsupported", _) = fault.kind else { return false }
        // What was uncertain could not be told from a new event without its key.
        return event.wentWithKey && !event.isCallersKey && !event.isUncertain
    }

    private mutating func refuse(_ index: Int, _ answer: EventEmitter.Answer, _ fault: ClientError) {
        events[index].refusal = answer
        refused += 1
        if isUnknownKey(fault, events[index]) {
            knowsKeys = false
        } else if refused == 1 {
            let asked = min(answer.retryAfterSeconds ?? 0, Backoff.askedMillisecondsMax / 1_000) * 1_000
            // All publishers are asked the same: they must not come back in the same moment.
            retryAt = Clock.now + UInt64(asked + backoff.next(using: &generator))
        }
    }

    /// Lets what was refused be sent again, if it is time.
    private mutating func releaseRefused(at now: UInt64) {
        guard now >= retryAt else { return }
        forgetSending()
        isRepeating = true
        send()
    }

    /// Everything is to be sent, in order.
    private mutating func forgetSending() {
        for index in head..<sentEnd { events[index].refusal = nil }
        refused = 0
        sentEnd = head
    }

    /// The connection is gone.
    private mutating func lose(_ error: ClientError) throws(ClientError) {
        isOpen = false
        reason = error
        // What the kernel has taken nothing of is as if it had never been sent.
        for index in head..<sentEnd
        where events[index].refusal == nil && events[index].beginsAt < emitter.writtenBytes {
            guard events[index].wentWithKey else { throw tellingFate(error) }
            events[index].isUncertain = true
        }
        forgetSending()
        isRepeating = head < events.count
        retryAt = max(retryAt, Clock.now + UInt64(backoff.next(using: &generator)))
    }

    private mutating func reconnect(until deadline: UInt64?) throws(ClientError) {
        let now = Clock.now
        let isTooOld = events[head...].contains { event in
            event.isUncertain && now - (event.firstSent ?? now) > repeatMilliseconds
        }
        if isTooOld {
            throw tellingFate(
                ClientError(.lost, "\(endpoint) has been away for longer than servers remember an event's key"))
        }
        let limit = Clock.deadline(after: options.connectMilliseconds)
        do throws(ClientError) {
            try emitter.reconnect(until: min(limit, deadline ?? limit))
            isOpen = true
            // Another server may listen there now.
            knowsKeys = true
            send()
        } catch {
            reason = error
            retryAt = Clock.now + UInt64(backoff.next(using: &generator))
            if let deadline, Clock.now >= deadline { throw tellingFate(error) }
        }
    }

    /// Waits until an attempt may be made, or `other` can be read.
    private mutating func pause(_ other: Int32?, until deadline: UInt64?) throws(ClientError) -> Bool {
        if let deadline {
            // Somebody who asks to come back too late is not waited for.
            if let fault = events[head].refusal?.fault, retryAt >= deadline { throw tellingFate(fault) }
            if Clock.now >= deadline {
                throw tellingFate(reason ?? ClientError(.timedOut, "\(endpoint) did not answer"))
            }
        }
        return Self.wait(other, until: min(retryAt, deadline ?? retryAt))
    }

    /// An error, and what it means for the events that are left without an answer.
    private func tellingFate(_ error: ClientError) -> ClientError {
        let count = events.count - head
        guard count > 0 else { return error }
        let isUncertain = events[head...].enumerated().contains { offset, event in
            event.isUncertain || (head + offset < sentEnd && event.refusal == nil)
        }
        let what = count == 1 ? "the event was" : "these \(count) events were"
        let fate = isUncertain ? "whether \(what) taken is unknown" : "\(what) not taken"
        return ClientError(error.kind, "\(error.message): \(fate)")
    }

    private static func wait(_ other: Int32?, until moment: UInt64?) -> Bool {
        // A negative descriptor is one that poll(2) leaves out.
        var wait = pollfd(fd: other ?? -1, events: Int16(POLLIN), revents: 0)
        return poll(&wait, 1, Clock.pollTimeout(until: moment)) > 0
    }
}

/// Keys that nobody else has: they count up from a random number of 128 bits.
private struct KeySource {
    private var number = UInt128.random(in: 0...UInt128.max)

    mutating func next() -> String {
        number &+= 1
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }
}
