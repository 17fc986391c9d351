/// How a command ends on SIGINT, SIGTERM or SIGHUP: never between something that it prints and the note that it has.

import Glibc
import Synchronization

/// Used by the one thread that prints.
enum StopSignals {
    /// How long after the first signal what is held may take: a terminal that is stopped takes nothing.
    private static let patienceSeconds: UInt32 = 1

    /// The first signal that came while ends were held up, 0 for none.
    private static let asked = Atomic<Int32>(0)
    private static let isHeld = Atomic<Bool>(false)

    /// From here on these signals end the process with 128 and their number, as a shell tells it. Those that the parent
    /// process had ignored stay ignored.
    static func install() {
        // Touched before a handler can: what is made at the first use must not be made in one.
        isHeld.store(false, ordering: .sequentiallyConsistent)
        asked.store(0, ordering: .sequentiallyConsistent)
        for number in [SIGINT, SIGTERM, SIGHUP, SIGALRM] {
            var former = sigaction()
            sigaction(number, nil, &former)
            if number != SIGALRM, isIgnored(former) { continue }
            // Without SA_RESTART, so that a write that waits for a reader ends.
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { StopSignals.handle($0) }
            sigaction(number, &action, nil)
        }
    }

    /// Whether a signal has come since `hold`: what takes long should be left.
    static var isAsked: Bool { asked.load(ordering: .sequentiallyConsistent) != 0 }

    /// Signals wait until `release`, a second one or a second's time.
    static func hold() {
        isHeld.store(true, ordering: .sequentiallyConsistent)
    }

    /// Ends the process if a signal has come meanwhile.
    static func release() {
        isHeld.store(false, ordering: .sequentiallyConsistent)
        let number = asked.load(ordering: .sequentiallyConsistent)
        if number != 0 { _exit(128 + number) }
    }

    private static func isIgnored(_ action: sigaction) -> Bool {
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
    }

    private static func handle(_ number: Int32) {
        let first = asked.load(ordering: .sequentiallyConsistent)
        if !isHeld.load(ordering: .sequentiallyConsistent) || first != 0 { _exit(128 + (first != 0 ? first : number)) }
        asked.store(number, ordering: .sequentiallyConsistent)
        // The signal may have come just before a write that then waits without end.
        alarm(patienceSeconds)
    }
}
