// A database of many events, made once and used again.

import EventStore
import Wire

/// Where the database is and what it holds.
struct Shape {
    var directory: String
    var events: UInt64 = 10_000_000
    var bytes = 200
    var channels = 100

    var configuration: StoreConfiguration {
        StoreConfiguration(directory: directory, newEpoch: Epoch(rawValue: monotonicNs()))
    }

    var database: String { "\(directory)/events.db" }

    func channel(_ index: UInt64) -> String { "channel/\(index % UInt64(channels))" }
}

/// Adds events until there are as many as wanted, a thousand to a transaction, spread over the channels by chance.
func fill(_ store: EventStore, _ shape: Shape) throws {
    guard store.head < shape.events else { return }
    let start = monotonicNs()
    let first = store.head
    var random: UInt64 = 1
    let line = Array((#"{"seq":1,"channel":"channel/1","kind":"changed","text":""# + padding(shape.bytes)).utf8)
    let kind = Array("changed".utf8)
    var batch = StoreBatch()
    while store.head < shape.events {
        var seq = store.head + 1
        for _ in 0..<100 {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            for _ in 0..<10 { batch.add(line: line.span.extracting(..<shape.bytes), kind: kind.span) }
            batch.finish(
                Publication(
                    channel: shape.channel(random >> 33), firstSeq: seq, timeMs: Int64(seq), level: .committed))
            seq += 10
        }
        _ = try store.append(batch)
        batch.removeAll()
        try store.reserve(behind: store.head)
        if store.walFrames > 8192 { try store.checkpoint() }
    }
    let seconds = Double(monotonicNs() - start) / 1e9
    let rate = rounded(Double(store.head - first) / seconds, 0)
    say("filled with \(store.head - first) events of \(shape.bytes) bytes: \(rounded(seconds, 1)) s, \(rate) events/s")
}

private func padding(_ bytes: Int) -> String { String(repeating: "x", count: bytes) }
