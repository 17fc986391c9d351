/// How far numbers were used, in memory that outlives the process but not the machine.

import CLinux
import EventStore
import Glibc
import Wire

/// A small file in memory that says which numbers events were given, whatever end the process finds. The next server
/// on the database goes on right behind them, and knows which of them were lost. With the machine it is gone, so what
/// it says is never older than what a disk kept.
///
/// ```
///  0: what the file is | 8: the numbering | 16: the greatest number that it has given
/// ```
/// Loop thread only. Where there is no such memory nothing is kept, and nobody is told: all works as it would after the
/// loss of power.
final class UsedNumbers {
    /// Where the files are. It must be a tmpfs: a store to a page of a file on a disk may wait for that.
    static let directory = "/dev/shm"
    static let byteCount = 24
    /// "fanout", and the version of what follows.
    static let magic: UInt64 = 0x6661_6E6F_7574_0001
    /// No number is as great: while the numbering is being written, and if the process ends then.
    private static let unknown = UInt64.max

    let path: String
    private let words: UnsafeMutablePointer<UInt64>

    /// Opens the file of a database, or makes it. Nil where it cannot be had, or is not what this class makes: a
    /// regular file of this user's, for nobody else, with one name and of the right size.
    /// - Parameters:
    ///   - file: which database it is.
    ///   - isNew: whether it is made; then what has its name, and is this user's, goes.
    init?(of file: (device: UInt64, inode: UInt64), isNew: Bool, in directory: String = UsedNumbers.directory) {
        path = "\(directory)/fanout-\(geteuid())-\(file.device)-\(file.inode)"
        guard linux_is_tmpfs(directory) else { return nil }
        if isNew { unlink(path) }
        let making = isNew ? O_CREAT | O_EXCL : 0
        let descriptor = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | making, 0o600)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        // The pages are taken now: later there might be none. Only this user can cut the file short, which would end
        // the process at its next store, and could as well send it a signal.
        guard !isNew || posix_fallocate(descriptor, 0, off_t(Self.byteCount)) == 0, Self.isOurs(descriptor),
            let pages = mmap(nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            pages != MAP_FAILED
        else {
            if isNew { unlink(path) }
            return nil
        }
        words = pages.assumingMemoryBound(to: UInt64.self)
    }

    deinit { munmap(words, Self.byteCount) }

    private static func isOurs(_ descriptor: Int32) -> Bool {
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && status.st_mode & 0o077 == 0
            && status.st_uid == geteuid() && status.st_nlink == 1 && Int(status.st_size) == byteCount
    }

    /// What the last server said; nil where none did, or it ended while it began to.
    var known: UsedNumber? {
        guard words[0] == Self.magic, words[2] != Self.unknown else { return nil }
        return UsedNumber(epoch: Epoch(rawValue: words[1]), seq: words[2])
    }

    /// Says that a numbering is in use from now on, and what was given last before it. Only who has the database may.
    func begin(_ epoch: Epoch, at seq: UInt64) {
        linux_store_release(words + 2, Self.unknown)
        linux_store_release(words + 1, epoch.rawValue)
        linux_store_release(words, Self.magic)
        linux_store_release(words + 2, seq)
    }

    /// Says that numbers up to this one were given. One store, no system call.
    @inline(__always)
    func note(_ seq: UInt64) { linux_store_release(words + 2, seq) }

    /// After a clean end: the database itself says it all.
    func remove() {
        linux_store_release(words, 0)
        unlink(path)
    }
}
