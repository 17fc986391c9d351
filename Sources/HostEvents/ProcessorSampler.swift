/// `cpu.sample` on `host/cpu`: how busy the processors were since the last reading.

/// Keeps the counters of `/proc/stat` (proc_stat(5)) between two readings.
struct ProcessorSampler: Sendable {
    /// Clock ticks that one processor, or all together, spent in each way since the machine started.
    private struct Ticks {
        var user: UInt64 = 0
        var system: UInt64 = 0
        var idle: UInt64 = 0
        var iowait: UInt64 = 0
        var steal: UInt64 = 0

        /// From the numbers behind `cpu` or `cpu3`; time of guests is part of `user` already.
        init(_ cursor: inout TextCursor, _ text: Span<UInt8>) {
            func next() -> UInt64 { min(cursor.number(text) ?? 0, 1 << 56) }
            user = next() + next()
            system = next()
            idle = next()
            iowait = next()
            system += next() + next()
            steal = next()
        }

        private init() {}

        func since(_ before: Ticks) -> Ticks {
            var change = Ticks()
            change.user = growth(of: user, since: before.user)
            change.system = growth(of: system, since: before.system)
            change.idle = growth(of: idle, since: before.idle)
            change.iowait = growth(of: iowait, since: before.iowait)
            change.steal = growth(of: steal, since: before.steal)
            return change
        }

        var sum: UInt64 { user + system + idle + iowait + steal }
        var busyPercent: Double { percent(sum - idle - iowait, of: sum) }
    }

    private struct Reading {
        var all: Ticks?
        var cores: [UInt64: Ticks] = [:]
        var switches: UInt64?
        var forks: UInt64?
    }

    private var before: Reading?

    mutating func sample(
        _ proc: String, _ text: inout KernelText, over milliseconds: UInt64?, into events: inout [HostEvent]
    ) {
        guard text.load("\(proc)/stat") else { return }
        let reading = Self.read(text.bytes.span.extracting(0..<text.count))
        defer { before = reading }
        guard let milliseconds, let before, let all = reading.all, let allBefore = before.all else { return }
        let change = all.since(allBefore)
        var event = EventText("host/cpu", "cpu.sample")
        event.add("usage_percent", tenths: change.busyPercent)
        event.add("user_percent", tenths: percent(change.user, of: change.sum))
        event.add("system_percent", tenths: percent(change.system, of: change.sum))
        event.add("iowait_percent", tenths: percent(change.iowait, of: change.sum))
        event.add("steal_percent", tenths: percent(change.steal, of: change.sum))
        // A core that has just come online has no reading to compare with: it waits for the next.
        let cores = reading.cores.sorted { $0.key < $1.key }.compactMap { number, ticks in
            before.cores[number].map { ticks.since($0).busyPercent }
        }
        event.add("cores_percent", cores, decimals: 1)
        addLoad(proc, &text, to: &event)
        if let switches = reading.switches, let switchesBefore = before.switches {
            event.add("switches_per_s", wholeNumber(perSecond(switches, since: switchesBefore, over: milliseconds)))
        }
        if let forks = reading.forks, let forksBefore = before.forks {
            event.add("forks_per_s", tenths: perSecond(forks, since: forksBefore, over: milliseconds))
        }
        events.append(event.finished())
    }

    private static func read(_ text: Span<UInt8>) -> Reading {
        var reading = Reading()
        var cursor = TextCursor()
        repeat {
            if cursor.take("cpu", text) {
                guard let label = cursor.word(text), label.lowerBound > 0 else { continue }
                if text[label.lowerBound - 1] == UInt8(ascii: " ") {
                    cursor.position = label.lowerBound
                    reading.all = Ticks(&cursor, text)
                } else if let number = decimal(text, label) {
                    reading.cores[number] = Ticks(&cursor, text)
                }
            } else if cursor.take("ctxt ", text) {
                reading.switches = cursor.number(text)
            } else if cursor.take("processes ", text) {
                reading.forks = cursor.number(text)
            }
        } while cursor.nextLine(text)
        return reading
    }

    /// `/proc/loadavg`: `0.31 0.27 0.13 3/96 9793` (proc_loadavg(5)).
    private func addLoad(_ proc: String, _ text: inout KernelText, to event: inout EventText) {
        guard text.load("\(proc)/loadavg") else { return }
        let bytes = text.bytes.span.extracting(0..<text.count)
        var cursor = TextCursor()
        var load: [Double] = []
        for _ in 0..<3 {
            guard let average = cursor.fraction(bytes) else { return }
            load.append(average)
        }
        event.add("load", load, decimals: 2)
        guard let tasks = cursor.word(bytes), let slash = tasks.first(where: { bytes[$0] == UInt8(ascii: "/") }),
            let runnable = decimal(bytes, tasks), let total = decimal(bytes, slash + 1..<tasks.upperBound)
        else { return }
        event.add("runnable", runnable)
        event.add("tasks", total)
    }
}
