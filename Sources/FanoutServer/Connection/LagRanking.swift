/// Who is furthest behind: the first of many, chosen in one walk over all.

/// How far one subscriber is behind. The greater, the further.
struct LagStanding: Comparable {
    /// Events that were for it and that its socket has not taken: those that wait, and those that it skips.
    var events: UInt64
    /// Bytes that wait for it in the server, control records included.
    var bytes: UInt32
    /// Age of the oldest of these bytes.
    var milliseconds: UInt32
    /// Its connection. Decides among equals, so that two reports of the same state name the same ones.
    var slot: UInt32

    static func < (left: LagStanding, right: LagStanding) -> Bool {
        if left.events != right.events { return left.events < right.events }
        if left.bytes != right.bytes { return left.bytes < right.bytes }
        if left.milliseconds != right.milliseconds { return left.milliseconds < right.milliseconds }
        return left.slot > right.slot
    }
}

/// Holds the `countMax` greatest of any number of standings, in a heap whose root is the least of them.
struct LagRanking {
    let countMax: Int
    private var heap: [LagStanding] = []

    /// - Parameter countMax: at least 1.
    init(countMax: Int) {
        precondition(countMax > 0, "a ranking has a first place")
        self.countMax = countMax
    }

    /// Takes a standing in, and the least one out if there are too many. O(log countMax).
    mutating func offer(_ standing: LagStanding) {
        if heap.count < countMax {
            heap.append(standing)
            rise(heap.count - 1)
        } else if heap[0] < standing {
            heap[0] = standing
            sink()
        }
    }

    /// The furthest behind first. O(n log n).
    var furthestFirst: [LagStanding] { heap.sorted(by: >) }

    private mutating func rise(_ start: Int) {
        var place = start
        while place > 0 {
            let parent = (place - 1) / 2
            guard heap[place] < heap[parent] else { return }
            heap.swapAt(place, parent)
            place = parent
        }
    }

    private mutating func sink() {
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count && heap[child] < heap[least] {
                least = child
            }
            if least == place { return }
            heap.swapAt(place, least)
            place = least
        }
    }
}
