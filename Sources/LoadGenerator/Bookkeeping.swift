/// The books of a run: what readers still lack, who has left, what went wrong.

import CLinux
import ClientSockets
import Glibc

extension LoadRun {
    /// How many published events this reader has not got.
    func pending(_ index: Int) -> Int {
        guard plan.publishing != nil else { return max(0, plan.events - Int(readers[index].received)) }
        var sum = 0
        for publisher in 0..<publisherCount {
            let next = expected[index * publisherCount + publisher]
            let end = publishedBy[publisher]
            if next < end { sum += (Int(end - next) + channels - 1) / channels }
        }
        return sum
    }

    /// Nothing is waited for from this reader any more.
    func uncount(_ index: Int) {
        guard readers[index].isCounted else { return }
        outstanding -= pending(index)
        awaitedByChannel[Int(readers[index].channel)] -= 1
        readers[index].isCounted = false
    }

    /// Ends a reader and closes its connection.
    func retire(_ index: Int) {
        guard readers[index].isLive else { return }
        uncount(index)
        if readers[index].phase != .streaming {
            readersSettling -= 1
            if stage == .connecting { readersStanding += 1 }  // nobody waits for it
        }
        readersLive -= 1
        close(readers[index].descriptor)
        readers[index].kept.release()
        readers[index].descriptor = -1
        readers[index].phase = .ended
    }

    /// The connection is over: by the server's end (0) or an errno.
    func closed(_ index: Int, _ code: Int32) {
        let isLeaving = stage == .leaving || stage == .over
        if !isLeaving, !readers[index].endSeen {
            let what = code == 0 ? "the stream ended" : "the connection failed: \(errorText(code))"
            if readers[index].role == .awaited || readers[index].phase != .streaming { fault(index, what) }
            ends += 1
        }
        retire(index)
    }

    /// The server says that events are missing.
    func toldOfGap(_ index: Int, _ record: Span<UInt8>) {
        gaps += 1
        readers[index].gapMask = .max
        if readers[index].role == .awaited { fault(index, "was told of a gap: \(record.excerpt)") }
    }

    /// The server says that it ends the stream.
    func toldOfEnd(_ index: Int, _ record: Span<UInt8>) {
        guard !readers[index].endSeen else { return }
        readers[index].endSeen = true
        if stage == .leaving || stage == .over { return }
        ends += 1
        if readers[index].role == .awaited { fault(index, "was ended: \(record.excerpt)") }
        uncount(index)
    }

    /// A fault after which the stream cannot be followed any more.
    func drop(_ index: Int, _ text: String) {
        fault(index, text)
        retire(index)
    }

    /// Notes a fault of one reader; the first few are shown.
    func fault(_ index: Int, _ text: String) {
        fault("reader \(index) (\(plan.readers[Int(readers[index].route)].route.dialect.name)): \(text)")
    }

    /// Notes a fault.
    func fault(_ text: String) {
        faults += 1
        if faults <= plan.faultsShownMax {
            writeError("fault: \(text)")
        } else if faults == plan.faultsShownMax + 1 {
            writeError("fault: further ones are only counted")
        }
    }
}

/// Writes a line to standard error.
func writeError(_ line: String) {
    write(line + "\n", to: STDERR_FILENO)
}
