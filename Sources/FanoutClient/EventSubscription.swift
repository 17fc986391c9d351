/// A reader of a server's events that comes back where it stopped.

import Glibc
import Wire

/// Reads events one by one, blocking; reconnects with back-off and resumes from the last event, so that whatever was
/// missed arrives later or is named by a gap. Used by one thread at a time.
///
/// ```swift
/// var events = EventSubscription(try Endpoint(url: "http://127.0.0.1:7575"), .init())
/// while let item = try events.next() {
///     if case .event(let line) = item { … }
/// }
/// ```
///
/// With `from` = `snapshot` the first events are the channels' present state, between the control messages `snapshot`
/// and `live`; a `snapshot` that comes later, after a gap or a break, begins it anew.
public struct EventSubscription: ~Copyable {
    /// What to subscribe to, and how long to try.
    public struct Options: Sendable {
        /// What the server does when this reader falls behind its limits.
        public enum LagPolicy: String, Sendable, CaseIterable {
            /// Ends the stream; the subscription comes back to where it was.
            case close
            /// Skips to the newest event and says so with a gap.
            case gap
            /// Sends of each key only the newest event, after a gap that counts the others.
            case conflate
            /// Drops what waits and sends the present state anew.
            case resnapshot
        }

        /// Patterns of channels; none means every channel.
        public var channels: [String] = []
        /// Kinds of events; none means every kind.
        public var types: [String] = []
        /// Where to begin: `now`, `start`, `snapshot` or a cursor. Nil leaves it to the server: usually `now`.
        public var from: String?
        /// What happens when this reader is too slow; nil leaves it to the server.
        public var onLag: LagPolicy?
        /// Whether a gap after a break is an error (`refused` with `cursor_gone`, or `ended` with 4410) instead.
        public var failsOnGap = false
        /// Whether to come back when the connection ends.
        public var reconnects = true
        /// Whether to come back to the place of the last event. If not, every connection begins at `from`: what a
        /// reader of `snapshot` needs where events carry no `seq` of the server's, because it could not tell what it
        /// has.
        public var resumes = true
        /// How long connecting and the first answer may take. 10 s.
        public var connectMilliseconds = 10_000
        /// A descriptor, usually standard output, that nobody may be reading any more: then `next` returns nil.
        public var watchedDescriptor: Int32?

        /// Every event from now on.
        public init() {}
    }

    /// What `next` returns.
    public enum Item: Sendable {
        /// An event: the line as it came, without its end.
        case event([UInt8])
        /// A control record, and its line.
        case control(ControlMessage, line: [UInt8])
        /// The connection ended; the next call waits this long and connects again.
        case disconnected(ClientError, retryMilliseconds: Int)
    }

    /// Where the server is.
    public let endpoint: Endpoint
    private let options: Options
    private var connection: StreamConnection
    private var place: ResumePlace
    private var backoff = Backoff()
    private var generator = SystemRandomNumberGenerator()
    /// What the next call does first.
    private var pending = Pending.nothing
    /// True exactly when a server has spoken: only then is a failure worth another attempt.
    private var hasBeenAnswered = false

    private enum Pending {
        case nothing
        /// Report the end of a connection, then wait for as long as the server asked.
        case retry(ClientError, asked: Int?)
        /// Wait until then and connect.
        case wait(until: UInt64)
        /// Report why there is no coming back.
        case fault(ClientError)
        /// The stream is over.
        case end
    }

    /// A subscription; the first call of `next` connects.
    public init(_ endpoint: Endpoint, _ options: Options) {
        self.endpoint = endpoint
        self.options = options
        connection = StreamConnection(endpoint, options)
        place = ResumePlace(asked: options.from)
    }

    /// The place to resume from later, as text: behind everything that `next` has returned. Nil before the server has
    /// named one, unless the options did.
    public var cursor: String? { place.cursor?.description }

    /// The place to resume from later.
    package var resumeCursor: Cursor? { place.cursor }

    /// Waits for the next event or control record. Nil when the stream has ended for good: after `$bye` 1000, where the
    /// channel has ended, or when the reader of `watchedDescriptor` has gone.
    /// - Throws: `unreachable` or `timedOut` when the first connection fails; `refused` when the server does not want
    ///   this subscription; `ended` after a `$bye` that no reconnect can mend; `lost` where `reconnects` is false.
    public mutating func next() throws(ClientError) -> Item? {
        switch pending {
        case .nothing: break
        case .end: return nil
        case .fault(let fault):
            pending = .end
            throw fault
        case .retry(let reason, let asked):
            return try disconnected(reason, asked: asked)
        case .wait(let moment):
            guard sleep(until: moment) else {
                pending = .end
                return nil
            }
            pending = .nothing
        }
        do throws(ClientError) {
            return try receive()
        } catch {
            connection.close()
            return try disconnected(error, asked: nil)
        }
    }

    /// The next item that has arrived already; nil where `next` would have to wait, or has the end to tell.
    /// - Throws: as `next`.
    package mutating func nextHeld() throws(ClientError) -> Item? {
        guard case .nothing = pending, connection.isOpen else { return nil }
        do throws(ClientError) {
            guard let step = try connection.nextHeld() else { return nil }
            return item(step)
        } catch {
            connection.close()
            return try disconnected(error, asked: nil)
        }
    }

    private mutating func receive() throws(ClientError) -> Item? {
        if !connection.isOpen { try connection.open(from: options.resumes ? place.from : options.from) }
        return item(try connection.next())
    }

    private mutating func item(_ step: StreamConnection.Step) -> Item? {
        switch step {
        case .event(let line):
            place.event(line)
            backoff.reset()
            return .event(line)
        case .control(let message, let line):
            hasBeenAnswered = true
            follow(message)
            return .control(message, line: line)
        case .over:
            connection.close()
            pending = .end
            return nil
        }
    }

    /// Keeps the place, and sees to what a `$bye` means.
    private mutating func follow(_ message: ControlMessage) {
        switch message {
        case .hello(let epoch, let seq, _, _):
            place.hello(epoch: epoch, seq: seq)
        case .gap(let why, let epoch, _, let to, _):
            place.gap(why: why, epoch: epoch, to: to)
        case .bye(let code, let why, let last, let retry):
            place.bye(last: last)
            connection.close()
            if code == 1000 {
                pending = .end
            } else if retry == nil {
                pending = .fault(
                    ClientError(.ended(code: code), "the server ended the stream for good: \(code) \(why)"))
            } else {
                pending = .retry(ClientError(.lost, "the server closed the stream: \(code) \(why)"), asked: retry)
            }
        case .snapshot:
            place.snapshot()
        case .live(let seq, _):
            place.live(seq: seq)
        case .ping, .other:
            break
        }
    }

    /// Decides whether the end of a connection is worth another one.
    private mutating func disconnected(_ reason: ClientError, asked: Int?) throws(ClientError) -> Item {
        guard hasBeenAnswered, options.reconnects, Self.mayPass(reason) else {
            pending = .end
            throw reason
        }
        let delay = backoff.next(asked: asked, using: &generator)
        pending = .wait(until: Clock.deadline(after: delay))
        return .disconnected(reason, retryMilliseconds: delay)
    }

    /// Whether the same attempt may succeed later.
    private static func mayPass(_ reason: ClientError) -> Bool {
        switch reason.kind {
        case .unreachable, .lost, .timedOut: true
        case .refused(_, let status): status.map { $0 >= 500 || $0 == 429 || $0 == 408 } ?? false
        case .ended, .protocolFault, .invalidInput: false
        }
    }

    /// False when the reader of the watched descriptor has gone meanwhile.
    private func sleep(until moment: UInt64) -> Bool {
        while Clock.now < moment {
            // A negative descriptor is one that poll(2) leaves out.
            var wait = pollfd(fd: options.watchedDescriptor ?? -1, events: 0, revents: 0)
            let count = poll(&wait, 1, Clock.pollTimeout(until: moment))
            if count > 0, wait.revents & Int16(POLLERR) != 0 { return false }
            if count > 0 { return true }
        }
        return true
    }
}
