/// One run of `emit`: events go out while answers come in.

import FanoutClient
import Glibc

/// Sends what an input holds, prints the acks in order and the errors with their lines.
struct Publication {
    private let options: EmitOptions
    /// The lines whose answers are due, oldest first; `head` is where the oldest one stands.
    private var asked: [Int] = []
    private var head = 0
    /// The class of the first failure.
    private var exitCode = ExitCode.success

    init(_ options: EmitOptions) {
        self.options = options
    }

    /// Publishes everything; returns the exit code.
    mutating func run(_ input: inout EventInput, to endpoint: Endpoint) throws(ClientError) -> Int32 {
        let start = EventEmitter.deadline(after: options.timeout)
        var settings = options.emitter
        settings.connectMilliseconds = options.timeout
        var emitter = try EventEmitter(endpoint, settings)
        // A single event shares one deadline with its connection; in a stream every step forward earns a new one.
        var deadline = start
        while true {
            var hasMoved = try printAnswers(&emitter)
            let wasIdle = emitter.isIdle
            try submit(&input, to: &emitter)
            if input.isAtEnd, emitter.isIdle { break }
            if exitCode == ExitCode.inputOutput { break }
            let before = emitter.pendingBytes
            hasMoved = hasMoved || wasIdle
            if input.isStream, hasMoved { deadline = EventEmitter.deadline(after: options.timeout) }
            let wantsInput = !input.isAtEnd && emitter.hasRoom
            let isReadable = try emitter.exchange(
                alsoReadable: wantsInput ? STDIN_FILENO : nil, until: emitter.isIdle ? nil : deadline)
            if isReadable { input.read() }
            if input.isStream, emitter.pendingBytes < before {
                deadline = EventEmitter.deadline(after: options.timeout)
            }
        }
        try emitter.finish(until: EventEmitter.deadline(after: options.timeout))
        if let fault = input.readFault {
            Output.complain("fanout emit: cannot read standard input: \(fault)")
            return ExitCode.inputOutput
        }
        return exitCode
    }

    /// Hands over lines for as long as there is room.
    private mutating func submit(_ input: inout EventInput, to emitter: inout EventEmitter) throws(ClientError) {
        while emitter.hasRoom, let event = input.next() {
            do throws(ClientError) {
                switch event.text {
                case .whole(let text): try emitter.submit(text, key: options.key)
                case .tooLong: throw EventInput.tooLong
                }
            } catch {
                fail(error, line: input.isStream ? event.line : nil)
                continue
            }
            asked.append(event.line)
        }
    }

    /// Prints what has arrived; true if anything has.
    private mutating func printAnswers(_ emitter: inout EventEmitter) throws(ClientError) -> Bool {
        var any = false
        while let answer = try emitter.nextAnswer() {
            any = true
            let line = nextAsked()
            if let fault = answer.fault {
                fail(fault, line: line)
            } else if options.emitter.level != EventEmitter.Level.none,
                case .failed = Output.write(answer.line + [UInt8(ascii: "\n")])
            {
                exitCode = ExitCode.inputOutput
            }
        }
        return any
    }

    private mutating func nextAsked() -> Int? {
        guard head < asked.count else { return nil }
        let line = asked[head]
        head += 1
        if head == asked.count {
            asked.removeAll(keepingCapacity: true)
            head = 0
        }
        return line > 0 ? line : nil
    }

    private mutating func fail(_ fault: ClientError, line: Int?) {
        Output.complain("fanout emit: " + (line.map { "line \($0): " } ?? "") + fault.message)
        if exitCode == ExitCode.success { exitCode = fault.exitCode }
    }
}
