/// What really happened: every event that was offered, which number it got, and what each reader should therefore have.

/// The model that every stream and every ack is held against.
final class Truth {
    /// An event that some client sent, whatever became of it.
    struct Offered {
        var channel: Int
        var kind: String?
        var payload: [UInt8]
        var key: String?
        /// Its number; 0 as long as nobody has said one.
        var seq: UInt64 = 0
        /// Whether its sender was told that it is refused.
        var isRefused = false
    }

    let epoch: String
    private(set) var offered: [Offered] = []
    private var byPayload: [[UInt8]: Int] = [:]
    /// The event at each number, counted from 1 at index 0; -1 where it is not known.
    private(set) var atSeq: [Int] = []
    /// The time that an event was stamped with: the same on every transport, live and replayed.
    private var times: [UInt64: String] = [:]

    init(epoch: String) { self.epoch = epoch }

    /// The highest number that anybody has seen.
    var head: UInt64 { UInt64(atSeq.count) }

    /// Notes an event that is about to be sent; returns its index.
    func offer(_ event: MadeEvent, channel: Int) -> Int {
        byPayload[event.compact] = offered.count
        offered.append(Offered(channel: channel, kind: event.kind, payload: event.compact, key: event.key))
        return offered.count - 1
    }

    /// Notes that an event was refused: it must have no number, now or later.
    func refuse(_ index: Int) throws {
        guard offered[index].seq == 0 else {
            throw Malformed("event \(index) was refused, and is \(offered[index].seq)")
        }
        offered[index].isRefused = true
    }

    /// Notes that an event has this number, as an ack or a stream says.
    func learn(_ index: Int, is seq: UInt64) throws {
        guard seq > 0, seq < 1 << 30 else { throw Malformed("the number \(seq)") }
        if offered[index].isRefused { throw Malformed("event \(index) was refused, and is number \(seq)") }
        guard offered[index].seq == 0 || offered[index].seq == seq else {
            throw Malformed("event \(index) is number \(offered[index].seq) and \(seq)")
        }
        while atSeq.count < Int(seq) { atSeq.append(-1) }
        guard atSeq[Int(seq) - 1] == -1 || atSeq[Int(seq) - 1] == index else {
            throw Malformed("number \(seq) is event \(atSeq[Int(seq) - 1]) and \(index)")
        }
        atSeq[Int(seq) - 1] = index
        offered[index].seq = seq
    }

    /// Notes an event in a stream: its bytes must be those of an event that was sent to that channel.
    func observe(seq: UInt64, channel: String, time: String?, payload: [UInt8]) throws {
        guard let index = byPayload[payload] else {
            throw Malformed("number \(seq) on \(channel) is nothing that was ever sent: \(payload.excerpt)")
        }
        guard Channels.names[offered[index].channel] == channel else {
            throw Malformed("number \(seq) was sent to \(Channels.names[offered[index].channel]), not to \(channel)")
        }
        try learn(index, is: seq)
        guard let time else { return }
        let first = times[seq] ?? time
        guard first == time else { throw Malformed("number \(seq) was stamped with \(first) and with \(time)") }
        times[seq] = first
    }

    /// The place among the offered events of one that came without a stamp.
    func unstamped(_ payload: [UInt8]) throws -> Int {
        guard let index = byPayload[payload] else {
            throw Malformed("an event that was never sent: \(payload.excerpt)")
        }
        guard Channels.names[offered[index].channel] == Channels.bareChannel else {
            throw Malformed("no stamp on an event of \(Channels.names[offered[index].channel])")
        }
        return index
    }

    /// The number of the newest event of a channel that anybody has said, before a number where one is given; 0 is
    /// none.
    func newest(of channel: Int, before end: UInt64 = .max) -> UInt64 {
        let known = atSeq.prefix(Int(clamping: end - 1))
        return UInt64(known.lastIndex { $0 >= 0 && offered[$0].channel == channel }.map { $0 + 1 } ?? 0)
    }

    /// For a subscription, how many events up to each number belong to it. The log must be known to its end.
    func counts(_ wanted: Wanted) -> [UInt32] {
        var table: [[String?: Bool]] = []
        for channel in Channels.names.indices {
            var kinds: [String?: Bool] = [:]
            for kind in EventMaker.kinds.map(Optional.some) + [nil] {
                kinds[kind] = wanted.wants(channel: channel, kind: kind)
            }
            table.append(kinds)
        }
        var counts: [UInt32] = [0]
        counts.reserveCapacity(atSeq.count + 1)
        for index in atSeq {
            let event = offered[index]
            counts.append(counts[counts.count - 1] + (table[event.channel][event.kind] == true ? 1 : 0))
        }
        return counts
    }

    /// Whether every number up to the head is known.
    var isComplete: Bool { !atSeq.contains(-1) }
}
