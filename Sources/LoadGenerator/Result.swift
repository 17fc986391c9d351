/// From the meters to the figures.

import ClientSockets
import Glibc

extension LoadRun {
    /// The figures of what was measured.
    func result() -> LoadResult {
        var result = LoadResult()
        let names = Set(plan.readers.map { $0.route.dialect.name })
        result.transport = names.count == 1 ? names.first ?? "" : names.isEmpty ? "none" : "mixed"
        result.readers = readerCount
        result.channels = channels
        result.publishers = plan.publishing == nil ? 0 : publisherCount
        result.events = plan.publishing == nil ? eventsOfOthers : measures.publishedMeasured
        result.bytes = plan.bytes
        result.burst = plan.burst
        result.rate = plan.rate
        result.stalled = (0..<readerCount).count { readers[$0].role == .stalled }
        result.crawling = (0..<readerCount).count { readers[$0].role == .crawling }
        result.churn = plan.churnPerSecond
        result.behind = plan.behind
        result.wasSnapshot = plan.wantsSnapshot
        result.faults = faults
        result.gaps = gaps
        result.ends = ends
        result.isInterrupted = measures.isInterrupted
        addConnecting(to: &result)
        if measures.behindSeconds > 0 { addComingBack(to: &result) }
        if measures.isMeasuring, measures.until > measures.since { addMeasured(to: &result) }
        return result
    }

    /// What each reader was to get, or in a given time has got on the average.
    private var eventsOfOthers: Int {
        if plan.durationSeconds == nil { return plan.events }
        return (measures.deliveriesAfter - measures.deliveriesBefore) / max(1, readerCount)
    }

    private func addConnecting(to result: inout LoadResult) {
        let isMeasured = !plan.serverPIDs.isEmpty
        if isMeasured {
            result.residentStart = measures.start.residentBytes
            result.residentPeak = max(measures.residentBytesPeak, measures.after.residentBytes)
            result.idleCPUPercent = measures.idleCPUPercent
        }
        guard readerCount > 0, measures.connectSeconds > 0 else { return }
        result.connectSeconds = measures.connectSeconds
        result.connectsPerSecond = Double(readerCount) / measures.connectSeconds
        guard isMeasured else { return }
        result.residentConnected =
            measures.idleResidentBytes > 0 ? measures.idleResidentBytes : measures.connected.residentBytes
        // Where readers come back, connecting and replay are one.
        guard plan.behind == 0 else { return }
        let cpu = measures.connected.cpuNanoseconds(since: measures.start)
        result.cpuPerConnect = Double(cpu) / 1000 / Double(readerCount)
    }

    private func addComingBack(to result: inout LoadResult) {
        result.behindSeconds = measures.behindSeconds
        guard !plan.serverPIDs.isEmpty else { return }
        let cpu = Double(measures.caughtUp.cpuNanoseconds(since: measures.start)) / 1000
        result.cpuPerReplayed = cpu * Double(channels) / Double(readerCount * plan.behindTotal)
        let peak = max(measures.behindResidentBytesPeak, measures.caughtUp.residentBytes)
        result.residentGrowthBehind = max(0, peak - measures.start.residentBytes)
    }

    private func addMeasured(to result: inout LoadResult) {
        let seconds = Double(measures.until - measures.since) / 1e9
        result.seconds = seconds
        result.deliveries = measures.deliveriesAfter - measures.deliveriesBefore
        result.receivedBytes = measures.bytesAfter - measures.bytesBefore
        let deliveries = Double(result.deliveries)
        if plan.publishing != nil {
            result.eventsPerSecond = Double(measures.publishedMeasured) / seconds
        } else if readerCount > 0 {
            result.eventsPerSecond = deliveries / Double(readerCount) / seconds
        }
        if result.deliveries > 0 {
            let cpu = Double(measures.clientAfter.cpuNanoseconds(since: measures.clientBefore))
            result.clientPerDelivery = cpu / 1000 / deliveries
        }
        if !plan.serverPIDs.isEmpty { addServer(to: &result) }
        if latency.total > 0 {
            result.latency = (
                latency.microseconds(at: 0.5), latency.microseconds(at: 0.99), latency.microseconds(at: 0.999),
                Double(latency.max) / 1000
            )
            result.histogram = latency.filled
        }
    }

    /// About a second: of fewer ticks the parts are chance.
    private static var ticksMin: Double { 100 }

    private func addServer(to result: inout LoadResult) {
        let cpu = Double(measures.after.cpuNanoseconds(since: measures.before)) / 1000
        let user = Double(measures.after.userTicks) - Double(measures.before.userTicks)
        let ticks = user + Double(measures.after.systemTicks) - Double(measures.before.systemTicks)
        if result.deliveries > 0 {
            let each = cpu / Double(result.deliveries)
            result.cpuPerDelivery = each
            // The process's clock is exact and does not tell user from system; ticks tell them, and are coarse.
            if ticks >= Self.ticksMin {
                result.userPerDelivery = each * user / ticks
                result.systemPerDelivery = each - each * user / ticks
            }
        }
        if measures.publishedMeasured > 0 { result.cpuPerEvent = cpu / Double(measures.publishedMeasured) }
    }

    /// One line of progress each second.
    func showProgress(_ now: UInt64) {
        guard now >= measures.shownAt + 1_000_000_000 else { return }
        let seconds = Double(now - max(measures.shownAt, measures.connectingSince)) / 1e9
        let each = Double(deliveries - measures.shownDeliveries) / max(seconds, 0.001)
        measures.shownAt = now
        measures.shownDeliveries = deliveries
        let at = (now - measures.connectingSince) / 1_000_000_000
        switch stage {
        case .filling: writeError("\(at) s: \(published) events before the readers come")
        case .leading: writeError("\(at) s: \(published) events are there")
        case .connecting: writeError("\(at) s: \(readersStanding) of \(readerCount) readers are connected")
        case .catchingUp: writeError("\(at) s: \(outstanding) deliveries until all readers are at the head")
        case .holding: writeError("\(at) s: \(readersLive) readers, idle")
        case .running where measures.isMeasuring:
            var line = "\(at) s: \(published - firstMeasured * publisherCount) events, \(Int(each)) deliveries/s"
            if latency.total > 0 { line += ", p99 \(decimal(latency.microseconds(at: 0.99) / 1000)) ms" }
            writeError(line + (faults > 0 ? ", \(faults) faults" : ""))
        case .running, .joining: writeError("\(at) s: warming")
        case .settling, .leaving, .over: break
        }
    }
}
