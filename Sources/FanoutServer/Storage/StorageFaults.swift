/// What the server does when the database cannot write, writes again, or ends.

import EventStore

extension Engine {
    /// How long the last answers may take when the database has needed longer to end than readers were given.
    static let lastAnswersMilliseconds: UInt64 = 1_000

    /// Acts on what the database has become.
    /// - Parameters:
    ///   - before: what it was until this report.
    ///   - setAside: the new name of a file that was found damaged.
    func judgeStorage(since before: StoreState, setAside: String?) {
        guard let state = storage?.state, state != before else { return }
        switch state {
        case .refusing(let fault):
            if storage?.refusingSince == nil { storage?.refusingSince = loop.now }
            if case .refusing(let known) = before, known.kind == fault.kind { return }
            log.error("publications are refused: cannot \(fault)")
        case .running:
            guard let since = storage?.refusingSince else { return }
            storage?.refusingSince = nil
            log.warning("the database writes again after \(Self.seconds(loop.now - since)) s")
        case .ended(let fault): storageEnded(fault, setAside: setAside)
        }
    }

    /// The database was closed, or going on would be wrong: then the server ends, too, and what the disk has is read at
    /// the next start. Publications that wait for an answer get none.
    private func storageEnded(_ fault: StoreFault?, setAside: String?) {
        if let fault {
            let aside = setAside.map { "; the damaged file is \($0) now" } ?? ""
            let what = ending == nil ? "the server ends" : "the end of the database is not a clean one"
            log.error("\(what): cannot \(fault)\(aside)")
            end(.storageFailed)
            // If it was ending before.
            if let ending, ending.exitCode == 0 { self.ending?.exitCode = StartError.ExitCode.io.rawValue }
            closeWhoWait()
        }
        guard ending?.deadlineReached == true else { return }
        ending?.deadlineReached = false
        loop.setTimer(endTimer, at: loop.now + Self.lastAnswersMilliseconds)
    }

    /// Whose answer waits gets none: its events may be stored or not, and nothing that could be said would be true.
    private func closeWhoWait() {
        for slot in 0..<UInt32(delivery.connections.slotsUsed) where delivery.connections[slot].isAwaiting {
            close(slot, .graceful, .restarting)
        }
    }

    /// Milliseconds as seconds with a tenth.
    private static func seconds(_ milliseconds: UInt64) -> String {
        let tenths = (milliseconds + 50) / 100
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// Tells the database what new channels keep, of those that have a retention of their own.
    func tellRetention() {
        guard !hub.retentionUntold.isEmpty, let storage else { return }
        let told = hub.retentionUntold.map { index in
            ChannelRetention(channel: hub.channels[index].text, limits: hub.channels[index].rules.retention)
        }
        // Where too much waits, the next turn tries again: each of the others will be answered, which makes a turn.
        if storage.queue.ask(.retention(told)) { hub.retentionUntold = [] }
    }
}
