/// One publisher: a connection, or a server's standard input, that events are written to.

import CLinux
import ClientSockets
import Glibc

/// Writes what it is given; over protocols that answer, each answer is checked.
final class Publisher {
    /// Tokens from here on are publishers'.
    static let tokenFirst: UInt64 = 1 << 32
    /// Paced, or without readers, it leaves so many batches unanswered at most.
    static let unansweredMax = 64
    /// Without readers it is given more while less than this is unwritten.
    static let unwrittenBytesMax = 256 << 10

    private let number: Int
    private let route: PublishRoute
    private let descriptor: Int32
    private var output: [UInt8] = []
    private var written = 0
    private var input: [UInt8] = []
    private var opening = OpeningState()
    private var unanswered = 0
    private var isConnected: Bool
    private var hasLeft = false
    private var sawEnd = false
    /// Whether it may publish: connected, and past its handshake.
    private(set) var isStanding = false

    /// Connects publisher `number` of a run.
    init(_ number: Int, _ run: LoadRun) throws(LoadFailure) {
        self.number = number
        route = run.plan.publishing ?? PublishRoute(dialect: .lines, host: "", path: "")
        if let destination = route.destination {
            switch openConnection(to: destination, source: nil) {
            case .connected(let opened), .inProgress(let opened): descriptor = opened
            case .tryLater: throw LoadFailure(.unavailable, "a publisher cannot connect: the server's backlog is full")
            case .failed(let code):
                throw LoadFailure(.unavailable, "a publisher cannot connect to \(route.host): \(errorText(code))")
            }
            isConnected = false
        } else {
            descriptor = run.plan.input
            isConnected = true
            _ = linux_set_nonblocking(descriptor, 1)
        }
        let events = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLET.rawValue
        let result = linux_epoll_control(
            run.epoll, EPOLL_CTL_ADD, descriptor, events, Self.tokenFirst + UInt64(number))
        guard result == 0 else { throw LoadFailure(.system, "epoll_ctl: \(errorText(-result))") }
        route.dialect.appendOpening(route, to: &output)
    }

    /// Whether everything was written and answered, so that a closed loop may go on.
    var isClear: Bool { written == output.count && unanswered == 0 }

    /// Whether more may be given without piling up.
    var hasRoom: Bool { output.count - written < Self.unwrittenBytesMax && unanswered < Self.unansweredMax }

    /// Writes the numbers of `range` as one batch.
    func publish(_ range: Range<Int>, _ run: LoadRun) throws(LoadFailure) {
        if written == output.count {
            output.removeAll(keepingCapacity: true)
            written = 0
        }
        let dialect = route.dialect
        let count = range.count
        dialect.appendBatchStart(route, count: count, eventBytes: run.plan.bytes, to: &output)
        for number in range {
            run.event.write(number, publisher: self.number, to: run.buffer)
            dialect.append(
                UnsafeBufferPointer(start: run.buffer, count: run.plan.bytes), route, channel: number % run.channels,
                inBatchOf: count, to: &output)
        }
        unanswered += dialect.appendBatchEnd(route, count: count, to: &output)
        try flush(run)
    }

    /// The socket is readable or writable.
    func ready(_ run: LoadRun, _ events: UInt32) throws(LoadFailure) {
        if hasLeft && sawEnd { return }
        if !isConnected {
            let code = pendingError(descriptor)
            guard code == 0 else {
                throw LoadFailure(.unavailable, "a publisher cannot connect to \(route.host): \(errorText(code))")
            }
            guard events & EPOLLOUT.rawValue != 0 else { return }
            isConnected = true
        }
        if route.destination != nil { try receive(run) }
        if !isStanding { try takeHandshake() }
        try flush(run)
    }

    private func takeHandshake() throws(LoadFailure) {
        while !isStanding {
            let step = input.withUnsafeBufferPointer { [route] bytes in
                route.dialect.handshake(bytes.span, &opening, say: &output)
            }
            switch step {
            case .incomplete: return
            case .step(let used): input.removeFirst(used)
            case .done(let used):
                input.removeFirst(used)
                isStanding = true
            case .refused(let why): throw LoadFailure(.unavailable, "a publisher was refused: \(why)")
            }
        }
    }

    private func flush(_ run: LoadRun) throws(LoadFailure) {
        while isConnected, written < output.count, !hasLeft {
            let count = output.withUnsafeBytes { bytes -> Int64 in
                guard let base = bytes.baseAddress else { return 0 }
                let place = base + written
                if route.destination != nil { return linux_send(descriptor, place, bytes.count - written) }
                return Int64(write(descriptor, place, bytes.count - written))
            }
            let code = count >= 0 ? 0 : route.destination == nil ? errno : Int32(-count)
            if code == EAGAIN { return }
            guard code == 0 else { throw LoadFailure(.unavailable, "a publisher cannot write: \(errorText(code))") }
            written += Int(count)
            run.progressAt = nanoseconds()
        }
    }

    private func receive(_ run: LoadRun) throws(LoadFailure) {
        while true {
            let count = linux_receive(descriptor, run.buffer, LoadRun.bufferBytes)
            if count == -Int64(EAGAIN) { break }
            if count <= 0 {
                sawEnd = true
                guard hasLeft else {
                    let why = count == 0 ? "the server closed it" : errorText(Int32(-count))
                    throw LoadFailure(.unavailable, "a publisher's connection has ended: \(why)\(said)")
                }
                return
            }
            input += UnsafeBufferPointer(start: run.buffer, count: Int(count))
            run.progressAt = nanoseconds()
            if isStanding { takeAnswers(run) }
        }
    }

    private var said: String {
        input.isEmpty ? "" : "; it said " + input.withUnsafeBufferPointer { $0.span.excerpt }
    }

    private func takeAnswers(_ run: LoadRun) {
        var used = 0
        loop: while used < input.count {
            let finding = input.withUnsafeBufferPointer { route.dialect.find($0.span.extracting(used...)) }
            switch finding {
            case .incomplete:
                if input.count - used > frameBytesMax { input.removeAll() }
                break loop
            case .taken(let frame):
                used += frame
                unanswered -= 1
                if unanswered < 0 {
                    run.fault("publisher \(number): an answer to nothing")
                    unanswered = 0
                }
            case .reply(let frame):
                let end = used + frame
                input.withUnsafeBufferPointer {
                    route.dialect.appendReply(to: $0.span.extracting(used..<end), into: &output)
                }
                used = end
            case .event(let frame, _), .skip(let frame), .gap(let frame), .end(let frame): used += frame
            case .fault(let why):
                let text = input.withUnsafeBufferPointer { $0.span.extracting(used...).excerpt }
                run.fault("publisher \(number): \(why): \(text)")
                unanswered = max(0, unanswered - 1)
                used = input.count
            }
        }
        input.removeFirst(min(used, input.count))
    }

    /// Whether the server has taken all that was published. Where it answers nothing, it shows by closing its end once
    /// it has read ours; a pipe only by holding nothing back.
    func hasAllTaken(_ run: LoadRun) -> Bool {
        guard written == output.count, unanswered == 0 else { return false }
        guard route.dialect == .lines, route.destination != nil else { return true }
        if !hasLeft {
            hasLeft = true
            _ = linux_shutdown(descriptor, Int32(SHUT_WR))
        }
        return sawEnd
    }

    /// Nothing more will be published.
    func leave() {
        guard !hasLeft else { return }
        hasLeft = true
        if route.destination != nil { _ = linux_shutdown(descriptor, Int32(SHUT_WR)) }
    }

    deinit {
        if route.destination != nil { close(descriptor) }
    }
}
