// Medians, ranges, percentiles and ratios, against examples computed by hand.

import Testing

@testable import LoadReport

@Suite("Statistics")
struct SpreadTests {
    @Test("the median of an odd number is the middle one, of an even number the mean of the two")
    func medians() throws {
        let odd = try #require(Spread([3, 1, 2]))
        #expect(odd == Spread([1, 2, 3]))
        #expect((odd.median, odd.least, odd.most, odd.count) == (2, 1, 3, 3))
        #expect(Spread([4, 1, 3, 2])?.median == 2.5)
        #expect(Spread([7])?.median == 7)
    }

    @Test("without numbers there is no spread, and what is not finite does not count")
    func nothing() {
        #expect(Spread([]) == nil)
        #expect(Spread([.nan, .infinity, -.infinity]) == nil)
        #expect(Spread([.nan, 5])?.median == 5)
        #expect(Spread([1e308, 1.6e308])?.median == 1.3e308)
    }

    @Test("a spread tells its range unless all are the same")
    func text() {
        #expect(Spread([4, 4.2, 4.4])?.text(FigureText.short) == "4.20 (4.00–4.40)")
        #expect(Spread([4, 4])?.text(FigureText.short) == "4.00")
    }

    @Test("a percentile is the upper end of the bucket in which it lies")
    func percentiles() {
        var histogram = Histogram()
        #expect(histogram.microseconds(at: 0.5) == nil)
        for (upper, count) in [(10.0, 5.0), (20, 4), (30, 0), (40, 1)] {
            let isTaken = histogram.append(upper: upper, count: count)
            #expect(isTaken)
        }
        #expect(histogram.total == 10)
        #expect(histogram.microseconds(at: 0) == 10)
        #expect(histogram.microseconds(at: 0.5) == 10)
        #expect(histogram.microseconds(at: 0.51) == 20)
        #expect(histogram.microseconds(at: 0.9) == 20)
        #expect(histogram.microseconds(at: 0.91) == 40)
        #expect(histogram.microseconds(at: 1) == 40)
    }

    @Test("buckets that do not rise, or count less than nothing, are refused")
    func refusedBuckets() {
        var histogram = Histogram()
        _ = histogram.append(upper: 10, count: 1)
        for (upper, count) in [(10.0, 1.0), (20, -1), (.infinity, 1), (20, .nan), (-1, 1)] {
            let isTaken = histogram.append(upper: upper, count: count)
            #expect(!isTaken)
        }
        #expect(histogram.buckets.count == 1)
    }

    @Test("two histograms together count what both counted")
    func sums() {
        var one = Histogram()
        var other = Histogram()
        for upper in [1.0, 3, 5] { _ = one.append(upper: upper, count: upper) }
        for upper in [2.0, 3] { _ = other.append(upper: upper, count: 10) }
        let sum = one + other
        #expect(sum.buckets.map(\.upper) == [1, 2, 3, 5])
        #expect(sum.buckets.map(\.count) == [1, 10, 13, 5])
        #expect(sum.total == one.total + other.total)
    }

    @Test(
        "numbers have three significant digits",
        arguments: [
            (0, "0"), (4.2149, "4.21"), (16.64, "16.6"), (0.19321, "0.193"), (9.999, "10.0"), (99.96, "100"),
            (100, "100"), (999.6, "1,000"), (412_345, "412,000"), (1_000_000, "1,000,000"), (0.0501, "0.0501"),
            (-3.5, "-3.50"), (1e-9, "0"), (10, "10.0"), (0.1, "0.100"), (0.99999, "1.00"),
        ] as [(Double, String)])
    func numbers(value: Double, text: String) {
        #expect(FigureText.short(value) == text)
    }

    @Test("ratios have two decimals, times and sizes their unit")
    func units() {
        #expect(FigureText.ratio(1.0849) == "1.08")
        #expect(FigureText.ratio(0.957) == "0.96")
        #expect(FigureText.ratio(35.52) == "35.5")
        #expect(FigureText.ratio(0.0333) == "0.0333")
        #expect(FigureText.time(microseconds: 420) == "420 µs")
        #expect(FigureText.time(microseconds: 999.6) == "1.00 ms")
        #expect(FigureText.time(microseconds: 2_500_000) == "2.50 s")
        #expect(FigureText.bytes(640) == "640 B")
        #expect(FigureText.bytes(12.3 * 1024 * 1024) == "12.3 MiB")
        #expect(FigureText.tick(2.5) == "2.5")
        #expect(FigureText.tick(10) == "10")
        #expect(FigureText.tick(1000) == "1,000")
    }

    @Test(
        "an axis begins at zero, holds the greatest and has round steps",
        arguments: [
            (32.9, 10.0, 40.0), (6, 1, 6), (6.1, 2, 8), (0.19, 0.05, 0.2), (415_000, 100_000, 500_000),
        ] as [(Double, Double, Double)])
    func axes(most: Double, step: Double, end: Double) {
        let axis = FigureText.axis(most: most)
        #expect(FigureText.short(axis.step) == FigureText.short(step))
        #expect(FigureText.short(axis.end) == FigureText.short(end))
    }

    @Test("an axis for nothing is still an axis")
    func emptyAxis() {
        for most in [0, -1, .nan, .infinity, 5e-324, 1.7e308] {
            #expect(FigureText.axis(most: most).end == 1)
        }
    }
}
