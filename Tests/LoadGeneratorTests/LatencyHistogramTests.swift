/// The histogram of latencies: exact to one part in 64.

import ClientSockets
import Testing

@Suite("Latency histogram")
struct LatencyHistogramTests {
    @Test(
        "a value lies at most one part in 64 below its bucket's upper end",
        arguments: [1, 127, 128, 1_000, 123_456_789])
    func precision(value: UInt64) {
        let histogram = LatencyHistogram()
        histogram.add(value)
        histogram.add(value * 10)
        let half = histogram.filled[0].upperNanoseconds
        #expect(half >= value)
        #expect(Double(half) <= Double(value) * (1 + 1.0 / 64) + 1)
        #expect(histogram.max == value * 10)
        #expect(histogram.total == 2)
    }

    @Test("shares are those of sorted values")
    func shares() {
        let histogram = LatencyHistogram()
        for value in 1...1_000 { histogram.add(UInt64(value) * 1_000) }
        #expect(abs(histogram.microseconds(at: 0.5) - 500) < 9)
        #expect(abs(histogram.microseconds(at: 0.99) - 990) < 17)
        #expect(histogram.microseconds(at: 1) == 1_000)
    }
}
