/// Opens the database for a server, gives it its thread, and closes it with the server.

import CLinux
import EventStore
import Glibc
import Reactor
import Wire

/// A server's database: its thread, and what the engine needs of it. A server that never ran closes it in order.
final class OpenedStorage {
    /// What the engine is given.
    let start: StorageStart
    private let thread: StoreThread
    /// Nobody has waited for the thread, nor left it to itself.
    private var isOwned = true

    private init(_ thread: StoreThread, _ start: StorageStart) {
        self.thread = thread
        self.start = start
    }

    deinit {
        guard isOwned else { return }
        // No event has got a number: the numbering goes on at the next start as if this one had not been.
        start.queue.close(used: start.opening.head)
        thread.join()
        forgetUsed(after: start.queue.takeReport()?.state)
    }

    /// After a clean end nobody needs to be told how far numbers were used.
    private func forgetUsed(after state: StoreState?) {
        if case .ended(nil) = state { start.used?.remove() }
    }

    /// The end of a server that ran.
    /// - Parameters:
    ///   - hasEnded: whether the database has said that it has ended. If not, the disk may never answer, and is not
    ///     waited for.
    ///   - state: what it said last.
    func end(hasEnded: Bool, state: StoreState?) {
        isOwned = false
        if hasEnded { thread.join() } else { thread.detach() }
        forgetUsed(after: state)
    }

    /// Opens the database that a configuration names, and says what the operator should know of it. Nothing of it is
    /// read or written on the calling thread afterwards.
    ///
    /// Nil where none is named, or where it is optional and cannot be opened.
    /// - Parameters:
    ///   - epoch: the numbering to begin if one must be begun.
    ///   - wakeup: wakes the loop when the database has something to say.
    static func open(
        _ configuration: Configuration, epoch: Epoch, wakeup: Wakeup, log: Log
    ) throws(StartError) -> OpenedStorage? {
        guard let directory = configuration.dataDirectory else {
            if configuration.channelRules.contains(where: { $0.rules.retention != nil }) {
                log.warning("the channels' retention says nothing: it is about the database, and there is no --data")
            }
            return nil
        }
        var stored = StoreConfiguration(directory: absolute(directory), newEpoch: epoch)
        stored.beginsNewLog = configuration.beginsNewLog
        stored.keysKept = IdempotencyKeys.countMax
        stored.stateBytesMax = MemoryFormula.share(of: configuration.memoryMax ?? MemoryLimit.standardBudget())
        let file = stored.fileIdentity
        var used = file.flatMap { UsedNumbers(of: $0, isNew: false) }
        stored.used = used?.known
        do throws(StoreFault) {
            let now = linux_wall_clock_ms()
            let store = try EventStore.open(stored, nowMs: now)
            let opening = store.opening
            let present = stored.fileIdentity
            if used == nil || file?.inode != present?.inode || file?.device != present?.device {
                // Of a database that was set aside.
                used?.remove()
                used = present.flatMap { UsedNumbers(of: $0, isNew: true) }
            }
            used?.begin(opening.epochs.present, at: opening.head)
            let keys = try store.storedKeys(
                IdempotencyKeys.countMax, since: now - IdempotencyKeys.windowMilliseconds)
            let producers = try store.storedProducers()
            let state = try store.storedState()
            let thread = try StoreThread(store: store, signal: { wakeup.signal() })
            say(opening, of: stored.directory, to: log)
            return OpenedStorage(
                thread,
                StorageStart(
                    queue: thread.queue, opening: opening, directory: stored.directory, keys: keys,
                    producers: producers, state: state, used: used))
        } catch {
            guard configuration.dataIsOptional else { throw StartError(error) }
            log.warning("everything is kept in memory only: cannot \(error)")
            return nil
        }
    }

    /// The folder's path whatever the process's own folder will be.
    private static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let present = getcwd(nil, 0) else { return path }
        defer { free(present) }
        return "\(String(cString: present))/\(path)"
    }

    private static func say(_ opening: StoreOpening, of directory: String, to log: Log) {
        if let name = opening.setAside {
            log.warning("the database was damaged and is set aside as \(name): a new log begins")
        }
        guard let why = opening.beginning.reason else { return }
        log.warning(
            "a new epoch begins in \(directory), behind event \(opening.head): \(why); places of readers in older ones "
                + "go on where their events were kept")
    }
}

extension LogBeginning {
    /// Why the numbering of a log that was there does not go on; nil where it does.
    fileprivate var reason: String? {
        switch self {
        case .first, .goesOn: nil
        case .uncleanEnd: "the last server did not end in order"
        case .otherFile: "the database is a copy, or was moved here from another file system"
        case .changedFile: "the database was changed or put back after it was closed"
        case .otherNumbers: "the file high-water is missing or does not fit the database, as after an end cut short"
        }
    }
}

extension StartError {
    /// A database that cannot be opened.
    init(_ fault: StoreFault) {
        let exitCode: ExitCode =
            switch fault.kind {
            case .locked: .cannotCreate
            case .newer, .foreign, .tooMuch: .configuration
            default: .io
            }
        self.init("cannot \(fault)", exitCode: exitCode)
    }
}
