/// Readers that come back: what is published before them, the place that they ask for, how long until they have it all.

import CLinux
import ClientSockets
import Glibc

extension LoadRun {
    /// Begins with what readers are to be behind by: asks the server where it stands, and lets publishers in. The
    /// state, whose rows are all of these events, has no place that would have to be asked for.
    func beginFilling() throws(LoadFailure) {
        prepareOpenings(from: plan.wantsSnapshot ? "snapshot" : try askPlace())
        stage = .filling
        progressAt = nanoseconds()
        for number in 0..<publisherCount { publishers.append(try Publisher(number, self)) }
    }

    /// Publishes some more of it; once the server has taken all of it readers connect.
    func fill(_ now: UInt64) throws(LoadFailure) {
        guard publishers.allSatisfy(\.isStanding) else { return }
        let total = plan.behindTotal
        while published < total, publishers.allSatisfy(\.hasRoom) {
            try publish(min(plan.fillBatch * publisherCount, total - published), now)
        }
        guard published == total, publishers.allSatisfy({ $0.hasAllTaken(self) }) else { return }
        publishers = []
        stage = .leading
        deadline = now + UInt64(plan.leadSeconds) * 1_000_000_000
    }

    /// All of it is there, and readers may come.
    func endLeading() {
        // From here on it counts: what the server holds of these events is not the readers' doing.
        measures.start = ProcessUsage(of: plan.serverPIDs)
        measures.connectingSince = nanoseconds()
        progressAt = measures.connectingSince
        stage = .connecting
    }

    /// Whether every reader has the last event that was published before it came.
    func isCaughtUp() -> Bool {
        sampleComingBack()
        guard outstanding <= 0 else { return false }
        let until = max(receivedAt, measures.connectingSince)
        measures.caughtUp = ProcessUsage(of: plan.serverPIDs)
        measures.behindSeconds = Double(until - measures.connectingSince) / 1e9
        return true
    }

    /// What is over in less than a second is looked at more often than ten times in one.
    func sampleComingBack() {
        guard plan.behind > 0, receivedAt >= measures.behindSampledAt + 5_000_000 else { return }
        measures.behindSampledAt = receivedAt
        measures.behindResidentBytesPeak = max(
            measures.behindResidentBytesPeak, ProcessUsage(of: plan.serverPIDs).residentBytes)
    }

    // MARK: The place

    private static let scoutMilliseconds: Int32 = 5_000
    private static let helloBytesMax = 64 << 10

    /// The cursor of the newest event, from the `$hello` of a reader that only asks for it. Waits for 5 s at most.
    private func askPlace() throws(LoadFailure) -> String {
        let route = plan.readers[0].route
        let descriptor: Int32
        switch openConnection(to: route.destination, source: nil) {
        case .connected(let opened), .inProgress(let opened): descriptor = opened
        case .tryLater: throw LoadFailure(.unavailable, "the server's backlog is full")
        case .failed(let code): throw unreachable(route, code)
        }
        defer { close(descriptor) }
        try Self.wait(for: POLLOUT, on: descriptor)
        let code = pendingError(descriptor)
        guard code == 0 else { throw unreachable(route, code) }
        let words = openings[0][0]
        guard words.isEmpty || linux_send(descriptor, words, words.count) == Int64(words.count) else {
            throw LoadFailure(.unavailable, "the server does not take a request")
        }
        var said: [UInt8] = []
        while said.count < Self.helloBytesMax {
            try Self.wait(for: POLLIN, on: descriptor)
            let count = linux_receive(descriptor, buffer, Self.bufferBytes)
            if count == -Int64(EAGAIN) || count == -Int64(EINTR) { continue }
            guard count > 0 else { break }
            said += UnsafeBufferPointer(start: buffer, count: Int(count))
            if let place = Hello.place(said.span) { return place }
        }
        throw LoadFailure(
            .unavailable,
            "--behind needs a server that says in a $hello where it stands, as fanout does: "
                + said.span.excerpt)
    }

    private static func wait(for events: Int32, on descriptor: Int32) throws(LoadFailure) {
        var poll = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        let count = Glibc.poll(&poll, 1, scoutMilliseconds)
        if count == 0 { throw LoadFailure(.unavailable, "the server says nothing for 5 s") }
        // An interruption is noticed by the run; the socket is asked in either case.
        if count < 0, errno != EINTR { throw LoadFailure(.system, "poll: \(errorText(errno))") }
    }
}

/// fanout's first record, as far as a place is told from it.
enum Hello {
    private static let epochDigits = 16

    /// The cursor of the newest event, once `$hello` is whole in what has come; nil before that. O(count).
    static func place(_ bytes: Span<UInt8>) -> String? {
        let mark: StaticString = "{\"type\":\"$hello\",\"epoch\":\""
        var start = 0
        while let brace = bytes.first(UInt8(ascii: "{"), from: start) {
            start = brace + 1
            guard bytes.has(mark, at: brace, before: bytes.count) else { continue }
            let epoch = brace + mark.utf8CodeUnitCount
            let number = epoch + epochDigits + 8  // behind ","seq":
            guard bytes.has("\",\"seq\":", at: epoch + epochDigits, before: bytes.count),
                let end = bytes.first(UInt8(ascii: ","), from: number),
                let seq = bytes.decimal(in: number..<end)
            else { return nil }
            var text = ""
            for index in epoch..<(epoch + epochDigits) {
                let byte = bytes[index]
                guard byte >= 48 && byte <= 57 || byte >= 97 && byte <= 102 else { return nil }
                text.unicodeScalars.append(Unicode.Scalar(byte))
            }
            return text + "-\(seq)"
        }
        return nil
    }
}
