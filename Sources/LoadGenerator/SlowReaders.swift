/// Readers that are not waited for: those that stop, those that crawl, those that come and go.

import CLinux
import ClientSockets
import Glibc

extension LoadRun {
    private static let crawlTicksPerSecond = 10
    private static let crawlBytesPerTick = 1_024 / crawlTicksPerSecond

    /// Spreads the roles evenly over all routes and channels.
    func layOutRoles() {
        var stalled = 0.0
        var crawling = 0.5  // out of step, so that no place is wanted by both
        for index in 0..<readerCount {
            stalled += plan.stalledShare
            crawling += plan.crawlingShare
            if stalled >= 1 - 1e-9 {
                readers[index].role = .stalled
                stalled -= 1
            } else if crawling >= 1 - 1e-9 {
                readers[index].role = .crawling
                crawling -= 1
            }
        }
        for index in (0..<readerCount).suffix(plan.churnPerSecond) { readers[index].role = .churning }
    }

    /// Measuring begins: from here on nobody waits for the slow ones.
    func beginSlowness() {
        for index in 0..<readerCount where readers[index].isLive {
            switch readers[index].role {
            case .awaited: continue
            case .churning: uncount(index)
            case .stalled, .crawling:
                uncount(index)
                watch(index, 0, EPOLL_CTL_MOD)
            }
        }
    }

    /// Measuring is over: what the slow ones were told meanwhile is read and counted.
    func endSlowness(_ now: UInt64) {
        guard plan.stalledShare + plan.crawlingShare > 0 else { return }
        deadline = now + 1_000_000_000
        for index in 0..<readerCount where readers[index].isLive && readers[index].isSlow {
            watch(index, Self.input, EPOLL_CTL_MOD)
        }
    }

    /// What happens ten times a second, whatever the sockets say.
    func sample(_ now: UInt64) throws(LoadFailure) {
        guard now >= sampledAt + 1_000_000_000 / UInt64(Self.crawlTicksPerSecond) else { return }
        sampledAt = now
        measures.sample(plan.serverPIDs)
        if stage == .running, measures.isMeasuring {
            crawl()
            try churn(now)
        }
        if plan.showsProgress { showProgress(now) }
    }

    private func crawl() {
        guard plan.crawlingShare > 0 else { return }
        for index in 0..<readerCount where readers[index].role == .crawling && readers[index].isLive {
            receive(index, Self.crawlBytesPerTick)
        }
    }

    /// Replaces churning readers: a tenth of a second's share each time, oldest first.
    private func churn(_ now: UInt64) throws(LoadFailure) {
        let places = min(plan.churnPerSecond, readerCount)
        guard places > 0 else { return }
        measures.churnDue += Double(plan.churnPerSecond) / Double(Self.crawlTicksPerSecond)
        while measures.churnDue >= 1 {
            measures.churnDue -= 1
            let index = readerCount - places + measures.churned % places
            measures.churned += 1
            // Its end is ours, not the server's: neither a fault nor counted.
            retire(index)
            if try !connect(index) { return }
        }
    }
}

extension Reader {
    /// Whether it reads less than it is sent, on purpose.
    var isSlow: Bool { role == .stalled || role == .crawling }
}
