/// `process.started` and `process.ended` on `host/process`: two scans of `/proc` compared.

import Glibc
import Wire

/// Keeps the processes of the last scan. A process is known by its number and the time it started, so that a number
/// used again is a new process. Kernel threads are counted and not reported: their workers come and go all the time. A
/// zombie has ended. What starts and ends between two scans is not seen.
struct ProcessSampler: Sendable {
    /// Bytes of a command line that an event carries.
    static let commandBytesMax = 200
    /// Starts and ends that one scan reports; the rest are counted in a summary, so that a storm of short-lived
    /// processes does not become a storm of events.
    static let reportsMax = 200

    private struct Known {
        let start: UInt64
        var name: [UInt8]
        var isKernelThread: Bool
        var scan: UInt64
    }

    private var known: [Int32: Known] = [:]
    private var numbers: [Int32] = []
    private var scan: UInt64 = 0

    mutating func sample(_ proc: String, _ text: inout KernelText, into events: inout [HostEvent]) {
        guard listNumbers(proc) else { return }
        scan += 1
        let isFirst = scan == 1
        var reports = 0
        let uptime = uptimeHundredths(proc, &text)

        // Ends are told first: a number used again has ended before it started.
        var started: [(pid: Int32, status: ProcessStatus)] = []
        for pid in numbers {
            guard text.load("\(proc)/\(pid)/stat"),
                let status = ProcessStatus(text.bytes.span.extracting(0..<text.count)), !status.hasEnded
            else { continue }
            if known[pid]?.start == status.start {
                known[pid]?.scan = scan
                if known[pid]?.name != status.name { known[pid]?.name = status.name }
            } else {
                started.append((pid, status))
            }
        }
        for (pid, process) in known where process.scan != scan {
            known[pid] = nil
            guard !process.isKernelThread else { continue }
            reports += 1
            if reports <= Self.reportsMax { events.append(Self.ended(pid, process, uptime)) }
        }
        for (pid, status) in started {
            known[pid] = Known(
                start: status.start, name: status.name, isKernelThread: status.isKernelThread, scan: scan)
            guard !status.isKernelThread, !isFirst else { continue }
            reports += 1
            if reports <= Self.reportsMax { events.append(Self.started(pid, status, proc, &text)) }
        }
        if isFirst || reports > Self.reportsMax {
            let kernelThreads = known.values.count { $0.isKernelThread }
            var event = EventText("host/process", "process.summary")
            event.add("processes", UInt64(known.count - kernelThreads))
            event.add("kernel_threads", UInt64(kernelThreads))
            if reports > Self.reportsMax { event.add("not_reported", UInt64(reports - Self.reportsMax)) }
            events.append(event.finished())
        }
    }

    /// The numbered folders of `/proc`. False where it cannot be listed: then nothing is known, and nothing has ended.
    private mutating func listNumbers(_ proc: String) -> Bool {
        numbers.removeAll(keepingCapacity: true)
        guard let folder = opendir(proc) else { return false }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            var value: Int32 = 0
            let isNumber = withUnsafeBytes(of: &entry.pointee.d_name) { name in
                for byte in name {
                    if byte == 0 { return value > 0 }
                    let digit = byte &- UInt8(ascii: "0")
                    guard digit <= 9, value < 100_000_000 else { return false }
                    value = value * 10 + Int32(digit)
                }
                return false
            }
            if isNumber { numbers.append(value) }
        }
        return true
    }

    private static func started(
        _ pid: Int32, _ status: ProcessStatus, _ proc: String, _ text: inout KernelText
    ) -> HostEvent {
        var event = EventText("host/process", "process.started")
        event.add("pid", UInt64(pid))
        event.add("ppid", status.parent)
        event.add("name", text: status.name)
        // The process may have ended by now; what is known of it is worth telling all the same.
        if text.load("\(proc)/\(pid)/cmdline"), text.count > 0 {
            event.add("command", text: commandLine(text.bytes.span.extracting(0..<text.count)))
        }
        if text.load("\(proc)/\(pid)/status"), let user = userID(text.bytes.span.extracting(0..<text.count)) {
            event.add("uid", user)
        }
        return event.finished()
    }

    private static func ended(_ pid: Int32, _ process: Known, _ uptime: UInt64?) -> HostEvent {
        var event = EventText("host/process", "process.ended")
        event.add("pid", UInt64(pid))
        event.add("name", text: process.name)
        let ticksPerSecond = max(1, sysconf(Int32(_SC_CLK_TCK)))
        if let uptime {
            let start = Double(process.start) / Double(ticksPerSecond)
            event.add("ran_s", hundredths: Double(uptime) / 100 - start)
        }
        return event.finished()
    }

    /// `/proc/uptime`: `2413.64 4311.07`, the first in seconds since the machine started.
    private func uptimeHundredths(_ proc: String, _ text: inout KernelText) -> UInt64? {
        guard text.load("\(proc)/uptime") else { return nil }
        var cursor = TextCursor()
        return cursor.fraction(text.bytes.span.extracting(0..<text.count)).map { wholeNumber($0 * 100) }
    }

    /// The arguments, separated by blanks: well-formed UTF-8, cut between two characters.
    private static func commandLine(_ text: Span<UInt8>) -> [UInt8] {
        // A character that the first cut splits begins behind the second.
        var line = copy(text, 0..<min(text.count, commandBytesMax + 3))
        while line.last == 0 { line.removeLast() }
        for index in line.indices where line[index] == 0 { line[index] = UInt8(ascii: " ") }
        line = UTF8Check.repair(line.span)
        guard line.count > commandBytesMax else { return line }
        var end = commandBytesMax
        while end > 0, line[end] & 0xC0 == 0x80 { end -= 1 }
        return Array(line[..<end])
    }

    /// `Uid:\t1000\t1000\t1000\t1000` in `/proc/PID/status`: the first is the real one.
    private static func userID(_ text: Span<UInt8>) -> UInt64? {
        var cursor = TextCursor()
        repeat {
            if cursor.take("Uid:", text) { return cursor.number(text) }
        } while cursor.nextLine(text)
        return nil
    }
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
struct ProcessStatus {
    /// PF_KTHREAD in the kernel's include/linux/sched.h.
    private static let kernelThreadFlag: UInt64 = 0x0020_0000

    /// The command's name, at most 15 bytes, any bytes but NUL.
    let name: [UInt8]
    let parent: UInt64
    /// Clock ticks between the machine's start and the process's.
    let start: UInt64
    let isKernelThread: Bool
    /// A zombie or a corpse.
    let hasEnded: Bool

    /// Nil for what is no such text. The name stands in parentheses and may hold parentheses, blanks and line breaks
    /// itself: it ends at the last closing one.
    init?(_ text: Span<UInt8>) {
        guard let opening = text.indices.first(where: { text[$0] == UInt8(ascii: "(") }),
            let closing = text.indices.last(where: { text[$0] == UInt8(ascii: ")") }), opening < closing
        else { return nil }
        name = copy(text, opening + 1..<closing)
        var cursor = TextCursor(position: closing + 1)
        guard let state = cursor.word(text), let parent = cursor.number(text) else { return nil }
        hasEnded = text[state.lowerBound] == UInt8(ascii: "Z") || text[state.lowerBound] == UInt8(ascii: "X")
        self.parent = parent
        cursor.skip(4, text)
        guard let flags = cursor.number(text) else { return nil }
        isKernelThread = flags & Self.kernelThreadFlag != 0
        cursor.skip(12, text)
        guard let start = cursor.number(text) else { return nil }
        self.start = start
    }
}
