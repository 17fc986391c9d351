// store-figures: how fast the database finds, appends, opens and closes, beside what its disk can do.

import CLinux
import EventStore
import Glibc

/// What was asked for on the command line.
private func options() -> Shape? {
    var words = CommandLine.arguments.dropFirst()
    var shape = Shape(directory: "")
    while let word = words.popFirst() {
        switch (word, words.popFirst()) {
        case ("--data", let value?): shape.directory = value
        case ("--events", let value?): shape.events = UInt64(value) ?? 0
        case ("--bytes", let value?): shape.bytes = Int(value) ?? 0
        case ("--channels", let value?): shape.channels = Int(value) ?? 0
        default: return nil
        }
    }
    let isWhole = !shape.directory.isEmpty && shape.events > 1000 && shape.bytes > 0 && shape.channels > 0
    return isWhole ? shape : nil
}

private func open(_ shape: Shape) throws -> EventStore {
    try EventStore.open(shape.configuration, nowMs: linux_wall_clock_ms())
}

/// Opens, reads once, closes; with the file out of the kernel's cache where that is asked for.
private func start(_ shape: Shape, isCold: Bool) throws {
    let name = isCold ? "cold" : "warm"
    if isCold { forget(shape.database) }
    var opened: EventStore?
    let opening = try time { opened = try open(shape) }
    guard let store = opened else { return }
    let page = try time { _ = try store.read(StoreQuery(.after(store.head / 3))) }
    let closing = try time { try store.close(used: store.head, isWhole: true) }
    say(
        "\(name) start: open \(rounded(opening.wall)) ms, first page \(rounded(page.wall)) ms,"
            + " close \(rounded(closing.wall)) ms")
}

/// Pages from places by chance.
private func lookUp(_ store: EventStore, _ shape: Shape, isCold: Bool, count: Int) throws {
    let kinds: [(name: String, channels: Int?, rows: Int)] = [
        ("one event", nil, 1), ("a page of 500", nil, 500), ("one event of one channel", 1, 1),
        ("one channel's page of 500", 1, 500),
        ("ten channels' page of 500", 10, 500), ("64 channels' page of 500", 64, 500),
        ("most channels' page, 4,096 looked at", shape.channels, 500),
    ]
    var random: UInt64 = 7
    for kind in kinds where kind.channels ?? 0 <= shape.channels {
        var times: [Took] = []
        for _ in 0..<count {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let place = (random >> 20) % store.head
            let channels = kind.channels.map { number in
                (0..<number).map { shape.channel((random >> 33) + UInt64($0)) }
            }
            if isCold { forget(shape.database) }
            let query = StoreQuery(.after(place), channels: channels, rowsMax: kind.rows)
            times.append(try time { _ = try store.read(query) })
        }
        report("\(isCold ? "cold" : "warm") look-up, \(kind.name)", times)
    }
}

private func measure(_ shape: Shape) throws {
    do {
        let store = try open(shape)
        try fill(store, shape)
        try store.close(used: store.head, isWhole: true)
    }
    for isCold in [true, false] { try start(shape, isCold: isCold) }
    do {
        let store = try open(shape)
        let memory = rounded(anonymousMiB(), 1)
        say("events \(store.head), anonymous memory \(memory) MiB, SQLite \(store.opening.sqliteVersion)")
        try lookUp(store, shape, isCold: false, count: 1000)
        try lookUp(store, shape, isCold: true, count: 100)
        try store.close(used: store.head, isWhole: true)
    }
    say("anonymous memory \(rounded(anonymousMiB(), 1)) MiB")
    try measureState(shape)
    for (publishers, batch) in [(8, 64), (1, 64), (1, 1), (8, 1)] {
        let figures = try append(try open(shape), publishers: publishers, batch: batch, bytes: shape.bytes, seconds: 5)
        let written = Int(figures.framesPerTransaction.rounded()) * 4120
        let limit = syncsPerSecond(in: shape.directory, bytes: max(written, 4120), seconds: 2)
        let frames = rounded(figures.framesPerTransaction, 1)
        say(
            "append synced, \(publishers) publishers of \(batch): \(rounded(figures.events, 0)) events/s in"
                + " \(rounded(figures.transactions, 0)) transactions/s of \(frames) frames;"
                + " the disk alone syncs as many bytes \(rounded(limit, 0)) times/s")
        say("    on the disk after \(quantiles(figures.latencies))")
    }
    let limit = syncsPerSecond(in: shape.directory, bytes: 4096, seconds: 2)
    say("the disk alone: 4 KiB synced \(rounded(limit, 0)) times/s")
}

guard let shape = options() else {
    say("store-figures --data FOLDER [--events 10000000] [--bytes 200] [--channels 100]: a folder of its own, kept")
    exit(2)
}
do {
    try measure(shape)
} catch {
    say("\(error)")
    exit(1)
}
