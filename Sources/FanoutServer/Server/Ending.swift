/// How the server stops: everyone is told, what is queued is flushed, nothing is left behind.

import Glibc
import Reactor
import Wire

/// A stop in progress.
struct Ending {
    /// What asked for it.
    enum Cause: Equatable {
        case signal(Int32)
        /// Standard input has ended, and the server was to end with it.
        case inputEnded
    }

    var cause: Cause
    /// A second signal came, or the flush took too long.
    var deadlineReached = false
    /// The status to exit with.
    var exitCode: Int32 = 0
}

extension Engine {
    /// How long readers get to take their last bytes.
    static let flushMilliseconds: UInt64 = 5_000
    /// Readers that come back in one second after a restart: their `retry_ms` are spread accordingly.
    static let returnsPerSecond: UInt64 = 2_000

    /// A signal came. The first one stops the server in order, a second one at once.
    func end(signal: Int32) {
        guard signal == SIGTERM || signal == SIGINT || signal == SIGHUP else { return }
        if ending != nil {
            ending?.deadlineReached = true
            ending?.exitCode = 128 + signal
        } else {
            end(.signal(signal))
        }
    }

    /// Stops accepting, says goodbye to every reader and lets every request finish.
    func end(_ cause: Ending.Cause) {
        guard ending == nil else { return }
        ending = Ending(cause: cause)
        inbox?.close()
        log.info(cause == .inputEnded ? "standard input has ended: stopping" : "stopping")
        loop.setTimer(endTimer, at: loop.now + Self.flushMilliseconds)
        let spread = max(1000, UInt64(delivery.connections.total) * 1000 / Self.returnsPerSecond)
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections.records + Int(slot)
            switch connection.pointee.phase {
            case .listener: close(slot, .graceful, .shutdown)
            case .subscriber:
                if cause == .inputEnded {
                    bye(slot, .ended)
                } else {
                    bye(slot, .shutdown, retryMilliseconds: 500 + random.below(Int(spread)))
                }
            case .request, .ingest:
                if connection.pointee.input == Connection.none, connection.pointee.ring.isEmpty {
                    close(slot, .graceful, .shutdown)
                } else if connection.pointee.phase == .request, connection.pointee.input != Connection.none {
                    // The rest of the request may never come: its sender is told that nothing was done.
                    respond(slot, keepAlive: false, fault: .shuttingDown)
                } else {
                    endWhenSent(slot)
                }
            case .free, .draining, .closing: break
            }
        }
    }

    /// Whether nothing is left to wait for.
    func hasEnded() -> Bool {
        guard let ending else { return false }
        return ending.deadlineReached || delivery.connections.openSockets == 0
    }
}
