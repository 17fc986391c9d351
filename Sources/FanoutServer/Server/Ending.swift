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
        /// The database has ended by itself.
        case storageFailed
    }

    var cause: Cause
    /// The flush took too long: readers that have not taken their last bytes are left.
    var deadlineReached = false
    /// A second signal came: nothing is waited for any more.
    var isForced = false
    /// The status to exit with.
    var exitCode: Int32 = 0
}

extension Engine {
    /// How long readers get to take their last bytes.
    static let flushMilliseconds: UInt64 = 5_000
    /// Readers that come back in one second after a restart: their `retry_ms` are spread accordingly.
    static let returnsPerSecond: UInt64 = 2_000

    /// A signal came. SIGHUP has the configuration read again; of the others the first one stops the server in order, a
    /// second one at once.
    func end(signal: Int32) {
        if signal == SIGHUP { return reload() }
        guard signal == SIGTERM || signal == SIGINT else { return }
        if ending != nil {
            ending?.isForced = true
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
        flushStorage()
        storage?.queue.close(used: hub.accepted)
        switch cause {
        case .signal: log.info("stopping")
        case .inputEnded: log.info("standard input has ended: stopping")
        // It has said why.
        case .storageFailed: ending?.exitCode = StartError.ExitCode.io.rawValue
        }
        loop.setTimer(endTimer, at: loop.now + Self.flushMilliseconds)
        endHistories()
        endSnapshots()
        let spread = max(1000, UInt64(delivery.connections.total) * 1000 / Self.returnsPerSecond)
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections.records + Int(slot)
            switch connection.pointee.phase {
            case .listener: close(slot, .graceful, .shutdown)
            case .subscriber:
                if cause == .inputEnded {
                    bye(slot, .ended)
                } else {
                    let reason = cause == .storageFailed ? EndReason.restarting : .shutdown
                    bye(slot, reason, retryMilliseconds: 500 + random.below(Int(spread)))
                }
            case .request where connection.pointee.isAwaiting: break  // Its answer is its last.
            case .request, .ingest:
                if connection.pointee.isAwaiting {
                    endWhenSent(slot)
                } else if connection.pointee.input == Connection.none, connection.pointee.ring.isEmpty {
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
        if ending.isForced { return true }
        guard delivery.connections.openSockets == 0 || ending.deadlineReached else { return false }
        return storage?.hasEnded ?? true
    }
}
