// How figures are taken and printed: a clock, quantiles, one line each.

import Glibc

/// Nanoseconds of a clock that is never set.
func monotonicNs() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Nanoseconds that this thread has had of a processor.
private func processorNs() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// How long something took.
struct Took {
    /// Milliseconds that passed, and those that its thread was running: on a busy machine they differ.
    var wall: Double
    var processor: Double
}

/// How long `body` took.
func time(_ body: () throws -> Void) rethrows -> Took {
    let (start, startProcessor) = (monotonicNs(), processorNs())
    try body()
    let processor = Double(processorNs() - startProcessor) / 1e6
    return Took(wall: Double(monotonicNs() - start) / 1e6, processor: processor)
}

/// A number with so many digits behind its point.
func rounded(_ value: Double, _ digits: Int = 2) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let whole = Int((value * scale).rounded())
    guard digits > 0 else { return "\(whole)" }
    let fraction = String(whole % Int(scale))
    return "\(whole / Int(scale)).\(String(repeating: "0", count: digits - fraction.utf8.count))\(fraction)"
}

/// The median, the 99th percentile and the worst of some times in milliseconds, in words.
func quantiles(_ times: [Double]) -> String {
    let sorted = times.sorted()
    guard let worst = sorted.last else { return "none" }
    let p99 = sorted[min(sorted.count - 1, sorted.count * 99 / 100)]
    return "median \(rounded(sorted[sorted.count / 2], 3)) ms, p99 \(rounded(p99, 3)), worst \(rounded(worst, 3))"
}

/// Prints what some times come to.
func report(_ what: String, _ times: [Took]) {
    say("\(what): \(quantiles(times.map(\.wall))); of it running: \(quantiles(times.map(\.processor)))")
}

/// Anonymous memory of this process, in MiB.
func anonymousMiB() -> Double {
    guard let file = fopen("/proc/self/smaps_rollup", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, 256, file) != nil {
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard text.hasPrefix("Anonymous:") else { continue }
        let digits = text.filter { $0 >= "0" && $0 <= "9" }
        return (Double(digits) ?? 0) / 1024
    }
    return 0
}

/// Prints a line at once, also into a pipe.
func say(_ text: String) {
    var text = text + "\n"
    text.withUTF8 { _ = write(STDOUT_FILENO, $0.baseAddress, $0.count) }
}
