// How long deliveries took: a log-linear histogram, exact to one part in 64.

/// Counts nanoseconds in buckets: 64 to each power of two. Adding costs a few instructions and no memory.
final class Latency {
    private static let perOctave = 64
    private let buckets: UnsafeMutablePointer<UInt64>
    private var total: UInt64 = 0
    private(set) var max: UInt64 = 0

    init() {
        buckets = .allocate(capacity: Self.perOctave * 60)
        buckets.initialize(repeating: 0, count: Self.perOctave * 60)
    }

    @inline(__always)
    func add(_ value: UInt64) {
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

    /// The value below which `share` of all lie, in microseconds (the bucket's upper end).
    func microseconds(at share: Double) -> Double {
        var left = UInt64(Double(total) * share)
        for index in 0..<(Self.perOctave * 60) {
            if buckets[index] > left { return Double(Self.upperEnd(index)) / 1000 }
            left -= buckets[index]
        }
        return Double(max) / 1000
    }

    private static func upperEnd(_ index: Int) -> UInt64 {
        if index < 128 { return UInt64(index) }
        let shift = index / perOctave - 1
        return UInt64(index % perOctave + perOctave + 1) << UInt64(shift)
    }
}
