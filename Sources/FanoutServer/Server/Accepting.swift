/// What happens when a connection cannot be accepted: somebody is told, and accepting rests.

import Glibc
import Planted
import Reactor
import Wire

/// How often accepting that rests is mentioned in the log.
struct AcceptWarning {
    private static let pauseMilliseconds: UInt64 = 60_000

    private var errno: Int32 = 0
    private var said: UInt64?

    /// Whether this error is to be said now: the first time, another one than last time, or once a minute.
    mutating func isNews(_ errno: Int32, now: UInt64) -> Bool {
        if let said, errno == self.errno, now < said + Self.pauseMilliseconds { return false }
        self.errno = errno
        said = now
        return true
    }
}

extension Engine {
    /// Connections that may be open: the configured limit, or what the reactor's table has beside the listeners. (The
    /// table was sized by the limit on open files when the process started, less what is needed otherwise.)
    var connectionsMax: Int {
        let listeners = delivery.connections.counts[Int(Transport.listener.rawValue)]
        return min(configuration.connectionsMax ?? .max, max(0, loop.capacity - listeners))
    }

    /// Listeners that wait before they accept again.
    var resting: [UInt32] { acceptRest.resting }

    /// Accepting stopped: most often no descriptor is left. One connection is turned away, so that somebody knows; then
    /// the listener rests and tries again, never in a spin.
    func acceptRefused(_ slot: UInt32, errno: Int32) {
        guard delivery.connections[slot].phase == .listener, ending == nil else { return }
        if isPlanted("acceptAtOnceAtLimit") {
            metrics.acceptErrors &+= 1
            return loop.accept(delivery.connections.socket(slot))
        }
        if isWant(errno) { turnAway(slot) }
        guard acceptRest.refused(slot, now: loop.now) else { return }
        metrics.acceptErrors &+= 1
        if acceptWarning.isNews(errno, now: loop.now) {
            log.warning(
                "accepting rests and tries again within a second: \(SystemError.name(of: errno)) "
                    + "(\(SystemError.text(of: errno))); \(advice(errno))")
        }
        setAcceptTimer()
    }

    /// Tries the listeners whose rest is over.
    func acceptAgain() {
        for slot in acceptRest.takeDue(now: loop.now) where delivery.connections[slot].phase == .listener {
            if isPlanted("acceptNeverResumed") { continue }
            loop.accept(delivery.connections.socket(slot))
        }
        setAcceptTimer()
    }

    /// A connection was accepted.
    func noteAccepted() {
        acceptRest.accepted(now: loop.now)
        if !resting.isEmpty { setAcceptTimer() }
    }

    private func setAcceptTimer() {
        if let time = acceptRest.nextTry { loop.setTimer(acceptTimer, at: time) }
    }

    /// Whether something is lacking that one connection fewer gives back.
    private func isWant(_ errno: Int32) -> Bool {
        errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM || errno == ENOSPC
    }

    /// Closes one connection that waits at a listener. A raw reader is told when to come back. HTTP is not answered: a
    /// browser's EventSource comes back after a connection that broke, and never after a 503.
    private func turnAway(_ slot: UInt32) {
        scratch.removeAll(keepingCapacity: true)
        switch listeners[Int(delivery.connections[slot].group)].kind {
        case .events, .jsonl:
            let discriminator = Array("type".utf8)
            ControlRecord.bye(
                code: 1013, why: EndReason.overload.why, last: nil, retryMilliseconds: 1000 + random.below(14_000)
            )
            .append(to: &scratch, format: .jsonl, discriminator: discriminator.span, eventID: nil)
        case .http, .httpUnix, .ingest, .closed: break
        }
        let farewell = scratch
        _ = loop.shed(delivery.connections.socket(slot), farewell: farewell.span)
    }

    private func advice(_ errno: Int32) -> String {
        if delivery.connections.openSockets >= loop.capacity {
            return "all \(connectionsMax) places are taken: raise the limit on open files (ulimit -n, LimitNOFILE=)"
        }
        return switch errno {
        case EMFILE: "raise the limit on open files (ulimit -n, LimitNOFILE=) or lower --max-connections"
        case ENFILE: "the whole system has no file left: raise fs.file-max"
        case ENOBUFS, ENOMEM: "the kernel has no memory for another connection"
        case ENOSPC: "raise fs.epoll.max_user_watches"
        case EPERM, EACCES: "a firewall or security module forbids it: look at its rules"
        default: "see accept(2)"
        }
    }
}
