/// What the server held at which moment: the only thing that the model asks the server for.

/// The oldest event held, by the number of the newest one. Events go when others come, so the one follows from the
/// other; what happened within a turn is known within bounds.
struct HeldHistory {
    private var samples: [(head: UInt64, oldest: UInt64)] = [(0, 1)]

    /// The oldest event held now; the next one where none is.
    var oldest: UInt64 { samples[samples.count - 1].oldest }

    /// Notes what holds between two turns; says what is wrong with it.
    mutating func note(head: UInt64, oldest: UInt64) -> [String] {
        let last = samples[samples.count - 1]
        if last.head == head {
            return last.oldest == oldest ? [] : ["\(last.oldest) was the oldest event held, now \(oldest) is: \(head)"]
        }
        samples.append((head, oldest))
        guard head > last.head, oldest >= last.oldest, oldest <= head + 1 else {
            return ["\(oldest) is the oldest event held at \(head), at \(last.head) it was \(last.oldest)"]
        }
        return []
    }

    /// Which event was the oldest one held when `head` was the newest.
    func oldest(atHead head: UInt64) -> ClosedRange<UInt64> {
        var low = 0
        var high = samples.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if samples[middle].head <= head { low = middle } else { high = middle - 1 }
        }
        if samples[low].head == head || low + 1 == samples.count { return samples[low].oldest...samples[low].oldest }
        return samples[low].oldest...min(samples[low + 1].oldest, head + 1)
    }
}
