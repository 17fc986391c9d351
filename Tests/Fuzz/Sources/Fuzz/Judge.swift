// What makes an input a finding: a claim that does not hold, too much time, too much memory.

import CLibFuzzer
import Glibc

enum Judge {
    /// Processor time for one input, all its splits and checks together; other people's load does not count.
    private static let nanosecondsMax: Int64 = 100_000_000
    /// Heap bytes in use at once for one input.
    private static let heapBytesMax: Int64 = 64 << 20

    /// Runs a target on one input.
    static func run(_ target: Target, _ input: Input) {
        heap_peak_reset()
        let begin = processorNanoseconds()
        target.judge(input)
        let spent = processorNanoseconds() - begin
        let heapBytes = heap_peak_bytes()
        expect(spent <= nanosecondsMax, "an input took \(spent / 1_000_000) ms")
        expect(heapBytes <= heapBytesMax, "an input took \(heapBytes >> 20) MiB")
    }

    private static func processorNanoseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// Makes the input a finding unless the claim holds; the message says what was found instead.
@inline(__always)
func expect(_ claim: Bool, _ message: @autoclosure () -> String) {
    if !claim { fail(message()) }
}

/// Makes the input a finding unless both sides are equal.
@inline(__always)
func expectEqual<Value: Equatable>(_ left: Value, _ right: Value, _ message: @autoclosure () -> String) {
    if left != right { fail("\(message()): \(left) is not \(right)") }
}

@inline(never)
func fail(_ message: String) -> Never {
    fuzz_fail(message)
}
