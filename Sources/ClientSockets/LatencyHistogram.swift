/// How long deliveries took: a log-linear histogram, exact to one part in 64.

/// Counts nanoseconds in buckets: 64 to each power of two. Adding costs a few instructions and no memory.
package final class LatencyHistogram {
    private static let perOctave = 64
    private static let bucketCount = perOctave * 60
    private let buckets: UnsafeMutablePointer<UInt64>
    /// How many values were added.
    package private(set) var total: UInt64 = 0
    /// The largest value, in nanoseconds, exact.
    package private(set) var max: UInt64 = 0

    package init() {
        buckets = .allocate(capacity: Self.bucketCount)
        buckets.initialize(repeating: 0, count: Self.bucketCount)
    }

    deinit {
        buckets.deallocate()
    }

    /// Counts one value, in nanoseconds.
    @inline(__always)
    package func add(_ value: UInt64) {
        total += 1
        if value > max { max = value }
        buckets[Self.bucket(value)] += 1
    }

    @inline(__always)
    private static func bucket(_ value: UInt64) -> Int {
        if value < 128 { return Int(value) }
        let shift = 63 - value.leadingZeroBitCount - 6
        return (shift + 1) * perOctave + Int(value >> UInt64(shift)) - perOctave
    }

    /// The value below which `share` of all lie, in microseconds (the bucket's upper end); O(number of buckets).
    package func microseconds(at share: Double) -> Double {
        var left = UInt64(Double(total) * share)
        for index in 0..<Self.bucketCount {
            if buckets[index] > left { return Swift.min(Double(Self.upperEnd(index)), Double(max)) / 1000 }
            left -= buckets[index]
        }
        return Double(max) / 1000
    }

    /// The buckets that hold something, in order: the upper end in nanoseconds, and how many values are in it.
    package var filled: [(upperNanoseconds: UInt64, count: UInt64)] {
        (0..<Self.bucketCount).filter { buckets[$0] > 0 }.map { (Self.upperEnd($0), buckets[$0]) }
    }

    private static func upperEnd(_ index: Int) -> UInt64 {
        if index < 128 { return UInt64(index) }
        let shift = index / perOctave - 1
        return UInt64(index % perOctave + perOctave + 1) << UInt64(shift)
    }
}
