/// Pages of the history: held events encoded for readers that cannot be sent the lines themselves.

/// A stretch of the history in one wire format, for one kind of subscription. Its frames fill a segment from the
/// beginning; each has its mark.
struct ReplayPage: BitwiseCopyable {
    var format: UInt8
    /// The group of readers that it is for, by its serial number; 0 are all that asked for everything.
    var filter: UInt64
    /// The events that it speaks for. Those between them that have no frame are not for its readers.
    var first: UInt64
    var last: UInt64
    var segment: UInt32
    /// Nothing can be added to it.
    var isFull = false
    /// When it was last asked for: the greater, the later.
    var usedAt: UInt64 = 0
}

/// The pages that readers who replay share: a thousand that come back to one place send the same bytes. Each holds a
/// reference on its segment while it is here; they all go when nobody replays any more.
struct ReplayPages: ~Copyable {
    /// Pages kept: 4 MiB of segments of the usual size.
    static let countMax = 64

    private(set) var pages: [ReplayPage] = []
    private var clock: UInt64 = 0
    /// Pages made since the start.
    private(set) var made: UInt64 = 0

    /// The place of the page that speaks for an event. O(pages).
    mutating func find(_ seq: UInt64, format: UInt8, filter: UInt64) -> Int? {
        let found = pages.firstIndex {
            $0.format == format && $0.filter == filter && $0.first <= seq && seq <= $0.last
        }
        if let found { touch(found) }
        return found
    }

    /// The place of the page that ends nearest before an event, but not before `least`. O(pages).
    func nearest(before seq: UInt64, notBefore least: UInt64, format: UInt8, filter: UInt64) -> Int? {
        var nearest: Int?
        for (place, page) in pages.enumerated()
        where page.format == format && page.filter == filter && page.last < seq && page.last >= least {
            if let found = nearest, pages[found].last >= page.last { continue }
            nearest = place
        }
        return nearest
    }

    /// Puts a page in that has a reference on its segment, which becomes this table's; the one that was used longest
    /// ago makes room.
    mutating func insert(_ page: ReplayPage, _ segments: inout SegmentStore) -> Int {
        if pages.count == Self.countMax {
            let oldest = pages.indices.min { pages[$0].usedAt < pages[$1].usedAt }!
            segments.release(pages[oldest].segment)
            pages.remove(at: oldest)
        }
        pages.append(page)
        made += 1
        touch(pages.count - 1)
        return pages.count - 1
    }

    /// A page has come to speak for more.
    mutating func extend(_ place: Int, through last: UInt64, isFull: Bool) {
        pages[place].last = last
        pages[place].isFull = isFull
        touch(place)
    }

    private mutating func touch(_ place: Int) {
        clock += 1
        pages[place].usedAt = clock
    }

    /// Gives all pages back. Who is still being sent one keeps its segment.
    mutating func removeAll(_ segments: inout SegmentStore) {
        for page in pages { segments.release(page.segment) }
        pages.removeAll(keepingCapacity: true)
    }
}
