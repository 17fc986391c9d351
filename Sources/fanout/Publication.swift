/// One run of `emit`: events go out while answers come in.

import FanoutClient
import Glibc

/// Sends what an input holds, prints the acks in order and the errors with their lines.
struct Publication {
    private let options: EmitOptions
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
        var emitter = try RetryingEmitter(endpoint, settings)
        do throws(ClientError) {
            try publish(&input, through: &emitter, until: start)
        } catch {
            throw Self.naming(error, emitter.unanswered, key: emitter.uncertainKey, isStream: input.isStream)
        }
        if let fault = input.readFault {
            Output.complain("fanout emit: cannot read standard input: \(fault)")
            return ExitCode.inputOutput
        }
        return exitCode
    }

    private mutating func publish(
        _ input: inout EventInput, through emitter: inout RetryingEmitter, until start: UInt64
    ) throws(ClientError) {
        // A single event shares one deadline with its connections; in a stream every step forward earns a new one.
        var deadline = start
        var progress = emitter.progress
        while true {
            try printAnswers(&emitter)
            let wasIdle = emitter.isIdle
            try submit(&input, to: &emitter)
            if input.isAtEnd, emitter.isIdle { break }
            if exitCode == ExitCode.inputOutput { break }
            if input.isStream, wasIdle || progress != emitter.progress {
                progress = emitter.progress
                deadline = EventEmitter.deadline(after: options.timeout)
            }
            let wantsInput = !input.isAtEnd && emitter.hasRoom
            let isReadable = try emitter.exchange(
                alsoReadable: wantsInput ? STDIN_FILENO : nil, until: emitter.isIdle ? nil : deadline)
            if isReadable { input.read() }
        }
        try emitter.finish(until: EventEmitter.deadline(after: options.timeout))
    }

    /// Hands over lines for as long as there is room.
    private mutating func submit(_ input: inout EventInput, to emitter: inout RetryingEmitter) throws(ClientError) {
        while emitter.hasRoom, let event = input.next() {
            do throws(ClientError) {
                switch event.text {
                case .whole(let text): try emitter.submit(text, key: options.key, tag: event.line)
                case .tooLong: throw EventInput.tooLong
                }
            } catch {
                fail(error, line: input.isStream ? event.line : nil)
            }
        }
    }

    /// Prints what has arrived.
    private mutating func printAnswers(_ emitter: inout RetryingEmitter) throws(ClientError) {
        while let verdict = try emitter.nextAnswer() {
            if let fault = verdict.answer.fault {
                fail(fault, line: verdict.tag > 0 ? verdict.tag : nil)
            } else if options.emitter.level != EventEmitter.Level.none,
                case .failed = Output.write(verdict.answer.line + [UInt8(ascii: "\n")])
            {
                exitCode = ExitCode.inputOutput
            }
        }
    }

    /// The error with the lines that it leaves without an answer, or with the key to send the event again with.
    private static func naming(
        _ error: ClientError, _ lines: ClosedRange<Int>?, key: String?, isStream: Bool
    ) -> ClientError {
        guard let lines else { return error }
        guard isStream else {
            let advice = key.map { " (with --key \($0) it can be sent again and is not published twice)" } ?? ""
            return ClientError(error.kind, error.message + advice)
        }
        let place = lines.count == 1 ? "line \(lines.lowerBound)" : "lines \(lines.lowerBound) to \(lines.upperBound)"
        return ClientError(error.kind, "\(place): \(error.message)")
    }

    private mutating func fail(_ fault: ClientError, line: Int?) {
        Output.complain("fanout emit: " + (line.map { "line \($0): " } ?? "") + fault.message)
        if exitCode == ExitCode.success { exitCode = fault.exitCode }
    }
}
