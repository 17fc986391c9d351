/// Which held events a page of history has.

import Wire

/// Held events that somebody asked for.
struct HistoryPage: Equatable {
    /// Their numbers, rising.
    var seqs: [UInt64] = []
    /// Bytes of their lines.
    var byteCount = 0
    /// Whether there is one among them that does not say its number itself.
    var hasUnnumbered = false
    /// How far the search has come, where something that matches may lie beyond, in its direction. nil: it is over.
    var reached: UInt64?
    /// Events looked at, patterns tried, and kinds by the dozen.
    var work = 0
}

extension Hub {
    /// The bytes of a page: those of a batch, so that what can be published together comes back together.
    static let historyPageBytesMax = 1 << 20

    /// The events of a stretch that a subscription reads, the first ones or, `newestFirst`, the last ones. All of the
    /// stretch is held. O(events looked at and patterns tried), about `workMax` at most.
    func historyPage(
        _ stretch: ClosedRange<UInt64>, of wanted: Subscription, newestFirst: Bool, countMax: Int, workMax: Int
    ) -> HistoryPage {
        guard var place = window.place(holding: newestFirst ? stretch.upperBound : stretch.lowerBound) else {
            preconditionFailure("a page is made of what is held")
        }
        var page = HistoryPage()
        var matcher = ChannelMatcher(wanted.patterns)
        var seq = newestFirst ? stretch.upperBound : stretch.lowerBound
        var block = window[place]
        // A handful of kinds costs nothing beside the event itself.
        let eventWork = 1 + wanted.types.count / 16
        while stretch.contains(seq) {
            if page.work + matcher.tried >= workMax {
                page.reached = newestFirst ? seq + 1 : seq - 1
                break
            }
            page.work += eventWork
            let inBlock = Int(seq - block.firstSeq)
            let channel = block.events[inBlock].channel
            if matcher.matches(channel, channels), isWanted(block, inBlock, wanted.types) {
                let byteCount = block.line(inBlock, delivery.log.segments).count
                let isFull = page.byteCount + byteCount > Self.historyPageBytesMax && !page.seqs.isEmpty
                if isFull || page.seqs.count == countMax {
                    page.reached = page.seqs.last
                    break
                }
                page.seqs.append(seq)
                page.byteCount += byteCount
                if !channels[channel].rules.event.stamp.contains(.seq) { page.hasUnnumbered = true }
            }
            seq = newestFirst ? seq - 1 : seq + 1
            guard stretch.contains(seq) else { break }
            if seq < block.firstSeq || seq > block.lastSeq {
                place += newestFirst ? -1 : 1
                block = window[place]
            }
        }
        page.work += matcher.tried
        if newestFirst { page.seqs.reverse() }
        return page
    }

    private func isWanted(_ block: HistoryBlock, _ place: Int, _ types: [[UInt8]]) -> Bool {
        if types.isEmpty { return true }
        guard let kind = block.kind(place, delivery.log.segments) else { return false }
        return SubscriberGroup.accepts(kind.text.span, isEscaped: kind.isEscaped, types)
    }

    /// The line of a held event, its newline included. Valid until the next event is published. O(log blocks).
    func heldLine(_ seq: UInt64) -> UnsafeBufferPointer<UInt8> {
        guard let place = window.place(holding: seq) else { preconditionFailure("an event is not held") }
        return window[place].line(Int(seq - window[place].firstSeq), delivery.log.segments)
    }
}
