/// The middle and the reach of the figures of several rounds.

/// Median, least and greatest of at least one number.
struct Spread: Equatable {
    var median: Double
    var least: Double
    var most: Double
    /// How many numbers there were.
    var count: Int

    /// Nil without numbers. Those that are not finite are left out. O(n log n).
    init?(_ values: [Double]) {
        let sorted = values.filter(\.isFinite).sorted()
        guard let least = sorted.first, let most = sorted.last else { return nil }
        let middle = sorted.count / 2
        // Half of each, not half of the sum: the sum of two great numbers may be infinite.
        median = sorted.count % 2 == 1 ? sorted[middle] : sorted[middle - 1] / 2 + sorted[middle] / 2
        self.least = least
        self.most = most
        count = sorted.count
    }

    /// `4.21 (4.10–4.40)`; where all are the same, that number.
    func text(_ figure: (Double) -> String) -> String {
        let middle = figure(median)
        return least == most ? middle : "\(middle) (\(figure(least))–\(figure(most)))"
    }
}
