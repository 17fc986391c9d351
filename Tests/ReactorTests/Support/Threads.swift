/// Threads of their own for tests that change something about the thread.

import Glibc

/// Runs a body on a new thread and waits for it.
func onNewThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) throws -> Result {
    let thread = RunningThread(body)
    return try thread.join()
}

/// A thread that runs a body.
final class RunningThread<Outcome: Sendable> {
    private final class Box: @unchecked Sendable {
        let body: @Sendable () throws -> Outcome
        var outcome: Result<Outcome, any Error>?

        init(_ body: @escaping @Sendable () throws -> Outcome) {
            self.body = body
        }
    }

    private let box: Box
    private var thread = pthread_t()

    init(_ body: @escaping @Sendable () throws -> Outcome) {
        let box = Box(body)
        self.box = box
        let run: @Sendable () -> Void = { box.outcome = Result(catching: box.body) }
        let context = Unmanaged.passRetained(Start(run)).toOpaque()
        let outcome = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Start>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context)
        precondition(outcome == 0, "a thread starts")
    }

    func join() throws -> Outcome {
        pthread_join(thread, nil)
        guard let outcome = box.outcome else { preconditionFailure("a joined thread has run") }
        return try outcome.get()
    }
}

private final class Start {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) {
        self.run = run
    }
}
