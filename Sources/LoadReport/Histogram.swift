/// How many deliveries took how long, as a run's line gives it.

/// Buckets by their upper end, and percentiles from them.
package struct Histogram: Equatable, Sendable {
    /// One bucket: deliveries that took at most `upper` microseconds and more than the bucket before.
    package struct Bucket: Equatable, Sendable {
        /// Microseconds.
        package var upper: Double
        /// Deliveries.
        package var count: Double
    }

    /// By rising upper ends.
    package private(set) var buckets: [Bucket] = []
    /// All deliveries.
    package private(set) var total = 0.0

    /// An empty one.
    package init() {}

    /// Appends a bucket. False, and nothing happens, unless `upper` is finite and greater than the last one's and
    /// `count` is finite and not negative.
    package mutating func append(upper: Double, count: Double) -> Bool {
        guard upper.isFinite, upper >= 0, count.isFinite, count >= 0 else { return false }
        if let last = buckets.last, upper <= last.upper { return false }
        guard (total + count).isFinite else { return false }
        buckets.append(Bucket(upper: upper, count: count))
        total += count
        return true
    }

    /// Both together. O(n + m).
    package static func + (one: Histogram, other: Histogram) -> Histogram {
        var sum = Histogram()
        var left = one.buckets[...]
        var right = other.buckets[...]
        while let next = [left.first?.upper, right.first?.upper].compactMap({ $0 }).min() {
            var count = 0.0
            if left.first?.upper == next { count += left.removeFirst().count }
            if right.first?.upper == next { count += right.removeFirst().count }
            _ = sum.append(upper: next, count: count)
        }
        return sum
    }

    /// The microseconds within which at least `share` (0 to 1) of all deliveries came; nil without deliveries.
    package func microseconds(at share: Double) -> Double? {
        guard total > 0 else { return nil }
        var before = 0.0
        for bucket in buckets where bucket.count > 0 {
            before += bucket.count
            // A hair less, since 0.9 × 10 is not quite 9.
            if before >= total * share * (1 - 1e-12) { return bucket.upper }
        }
        return buckets.last { $0.count > 0 }?.upper
    }
}
