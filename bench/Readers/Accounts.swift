// The books of a run: who still owes what, what went wrong, and the closing lines.

import ClientSockets
import Glibc

extension Checker {
    /// What live readers lack of the events before `end`.
    func pendingOfAll(before end: Int) -> Int {
        var sum = 0
        for index in 0..<readerCount where readers[index].isLive {
            sum += readers[index].pending(before: end, streams: streams)
        }
        return sum
    }

    /// Counts a reader in when its subscription stands, so that published events are expected of it.
    func countIn(_ index: Int) {
        readersReady += 1
        readersSettling -= 1
        if readers[index].isFiltered {
            liveByStream[Int(readers[index].stream)] += 1
        } else {
            liveUnfiltered += 1
        }
    }

    /// Ends a reader: nothing more is expected of it.
    func retire(_ index: Int, _ phase: ReaderPhase) {
        let reader = readers[index]
        guard reader.isLive else { return }
        if reader.phase == .streaming {
            outstanding -= reader.pending(before: published, streams: streams)
            if reader.isFiltered {
                liveByStream[Int(reader.stream)] -= 1
            } else {
                liveUnfiltered -= 1
            }
        } else {
            readersSettling -= 1
            readersReady += 1  // nobody waits for it
        }
        readersLive -= 1
        Glibc.close(reader.descriptor)
        readers[index].kept.release()
        readers[index].descriptor = -1
        readers[index].phase = phase
    }

    /// A fault after which the stream cannot be followed any more.
    func drop(_ index: Int, _ text: String) {
        fault(index, text)
        retire(index, .failed)
    }

    /// Notes a fault of one reader; the first few are shown.
    func fault(_ index: Int, _ text: String) {
        readers[index].faults += 1
        faults += 1
        if faults <= options.faultsShownMax {
            write("fault: reader \(index) (\(readers[index].transport.name)): \(text)\n", to: 2)
        } else if faults == options.faultsShownMax + 1 {
            write("fault: further ones are only counted\n", to: 2)
        }
    }

    /// Notes a fault that belongs to no reader.
    func fault(publisher text: String) {
        faults += 1
        write("fault: publisher: \(text)\n", to: 2)
    }

    func say(_ text: String) {
        if !options.isQuiet { write(text + "\n", to: 2) }
    }

    /// Prints the totals; the number of readers that saw everything and nothing else.
    func report() -> Int {
        var passed = 0
        for index in 0..<readerCount {
            let reader = readers[index]
            let isComplete = Int(reader.received) == reader.due(of: eventsTotal, streams: streams)
            if reader.faults == 0, reader.phase != .failed, isComplete || (options.allowGaps && reader.byeSeen) {
                passed += 1
            } else if reader.faults == 0 {
                fault(index, "incomplete: \(standing(index))")
            }
        }
        write(totals() + "\n", to: 1)
        write("\(passed) passed, \(readerCount - passed) failed\n", to: 1)
        return passed
    }

    private func totals() -> String {
        let seconds = decimal(Double(runningUntil &- runningSince) / 1e9)
        return "readers=\(readerCount) deliveries=\(deliveries) faults=\(faults) seconds=\(seconds)"
    }
}
