/// When events are published: in a closed loop, at due times, or as fast as they are taken.

import ClientSockets
import Glibc

extension LoadRun {
    /// Paced publishing sends at most so many at once when it is late.
    private static let lateBatchMax = 256

    /// Publishes what is due.
    func publishNext(_ now: UInt64) throws(LoadFailure) {
        guard isPublishing, !publishers.isEmpty else { return }
        let warmTotal = firstMeasured * publisherCount
        if published < warmTotal {
            if isQuiet { try publish(min(channels * publisherCount, warmTotal - published), now) }
            return
        }
        if !measures.isMeasuring {
            guard isQuiet else { return }
            startMeasuring()
        }
        let most = plan.durationSeconds == nil ? publishedTotal : now < deadline ? LoadPlan.eventsMax : published
        let left = most - published
        guard left > 0 else { return }
        if plan.rate > 0 {
            let due = warmTotal + Int(Double(now &- min(now, measures.since)) * Double(plan.rate) / 1e9) + 1
            if publishers.allSatisfy(\.hasRoom) { try publish(min(due - published, Self.lateBatchMax, left), now) }
        } else if readerCount == 0 {
            try flood(left, now)
        } else if isQuiet {
            try publish(min(plan.burst, left), nanoseconds())
        }
    }

    /// Whether every reader that is waited for has everything, and every publisher its answers.
    private var isQuiet: Bool { outstanding <= 0 && publishers.allSatisfy(\.isClear) }

    /// Without readers: as much as the server takes.
    private func flood(_ left: Int, _ now: UInt64) throws(LoadFailure) {
        var left = left
        while left > 0, publishers.allSatisfy(\.hasRoom) {
            let count = min(left, max(plan.burst, plan.publishing?.dialect == .lines ? 256 : 1) * publisherCount)
            try publish(count, now)
            left -= count
        }
    }

    /// Publishes the next `count` events, publishers in turn.
    func publish(_ count: Int, _ now: UInt64) throws(LoadFailure) {
        guard count > 0 else { return }
        burstTime = now
        let end = published + count
        for publisher in 0..<publisherCount {
            // Event g of the run is number g / publishers of publisher g mod publishers.
            let first = Int(publishedBy[publisher])
            let last = (end - publisher + publisherCount - 1) / publisherCount
            guard last > first else { continue }
            publishedBy[publisher] = UInt32(last)
            if readersLive > 0 {
                for number in first..<last { outstanding += awaitedByChannel[number % channels] }
            }
            try publishers[publisher].publish(first..<last, self)
        }
        published = end
    }

    // MARK: Times

    /// When event g of the run is due, counted over all publishers.
    func dueTime(of event: Int) -> UInt64 {
        let measured = max(0, event - firstMeasured * publisherCount)
        return measures.since + UInt64(Double(measured) * 1e9 / Double(max(plan.rate, 1)))
    }

    /// When an event was due, or published in the closed loop, where at most a burst is under way.
    @inline(__always)
    func publishedTime(_ publisher: Int, _ number: Int) -> UInt64 {
        isPaced ? dueTime(of: number * publisherCount + publisher) : burstTime
    }
}
