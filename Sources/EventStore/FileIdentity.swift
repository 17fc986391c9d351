/// Which file a name means, and the few calls on files and folders that SQLite does not make.

import Glibc

/// A file's device and inode, and when it was last changed in any way (its ctime, which no copy can set).
struct FileIdentity: Equatable {
    var device: UInt64
    var inode: UInt64
    /// Nanoseconds of the wall clock.
    var changed: UInt64

    /// Nil where there is no such file.
    init?(of path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        let seconds = UInt64(truncatingIfNeeded: status.st_ctim.tv_sec)
        changed = seconds &* 1_000_000_000 &+ UInt64(truncatingIfNeeded: status.st_ctim.tv_nsec)
    }

    /// Bytes of a file; 0 where there is none.
    static func byteCount(of path: String) -> UInt64 {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(clamping: status.st_size) : 0
    }

    func isSameFile(as other: FileIdentity) -> Bool { device == other.device && inode == other.inode }
}

/// The data folder on the operating system's own file system.
enum StoreFolder {
    /// Makes the folder, for this user only, and the files in it, so that they are never readable by others. An empty
    /// file is to everyone who reads it as one that is not there.
    static func make(_ configuration: StoreConfiguration) throws(StoreFault) {
        if mkdir(configuration.directory, 0o700) == 0 {
            try syncParent(of: configuration.directory)
        } else if errno != EEXIST {
            throw fault(.cannotOpen, errno, "make the folder", configuration.directory)
        }
        var status = stat()
        if stat(configuration.directory, &status) == 0, status.st_mode & S_IFMT != S_IFDIR {
            throw fault(.cannotOpen, ENOTDIR, "open the folder", configuration.directory)
        }
        // A file that is there is left alone: closing it would drop the process's locks on it.
        for file in [configuration.path, configuration.highWaterPath] {
            let descriptor = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            if descriptor >= 0 {
                Glibc.close(descriptor)
            } else if errno != EEXIST {
                throw fault(.cannotOpen, errno, "make", file)
            }
        }
        // SQLite would open what cannot be written for reading, and fail later with less to say.
        for place in [configuration.directory, configuration.path, configuration.highWaterPath]
        where access(place, R_OK | W_OK) != 0 {
            throw fault(.cannotOpen, errno, "write to", place)
        }
    }

    /// Brings the name of a folder that was just made to the disk; SQLite does it for what is in the folder.
    private static func syncParent(of directory: String) throws(StoreFault) {
        let descriptor = open("\(directory)/..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        // Who may make folders in it but not read it cannot ask for that.
        guard descriptor >= 0 else { return }
        defer { Glibc.close(descriptor) }
        // A file system that cannot sync a folder says EINVAL.
        if fsync(descriptor) != 0, errno != EINVAL {
            throw fault(.notSynced, errno, "sync the folder of", directory)
        }
    }

    /// A damaged database that was set aside: its name, or nil where there is none.
    static func quarantined(in directory: String) -> String? {
        guard let stream = opendir(directory) else { return nil }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasPrefix("events.db.corrupt-"), !name.hasSuffix("-wal") { return name }
        }
        return nil
    }

    /// Renames a damaged database and its write-ahead log, so that nobody writes to them and somebody can look at them.
    ///
    /// Answers the new name. The log goes first: a database that is found without it is older, one with a stranger's
    /// log would be wrong.
    static func quarantine(_ path: String, timeMs: Int64) throws(StoreFault) -> String {
        var name = "\(path).corrupt-\(timeMs / 1000)"
        var tries = 1
        while FileIdentity(of: name) != nil {
            tries += 1
            name = "\(path).corrupt-\(timeMs / 1000)-\(tries)"
        }
        if rename("\(path)-wal", "\(name)-wal") != 0, errno != ENOENT {
            throw fault(.cannotOpen, errno, "set aside", "\(path)-wal")
        }
        if rename(path, name) != 0, errno != ENOENT { throw fault(.cannotOpen, errno, "set aside", path) }
        return name
    }

    private static func fault(
        _ kind: StoreFault.Kind, _ errno: Int32, _ operation: String, _ path: String
    ) -> StoreFault {
        switch errno {
        case ENOSPC, EDQUOT: StoreFault(.full, errno: errno, operation: operation, path: path)
        case EROFS: StoreFault(.readOnly, errno: errno, operation: operation, path: path)
        default: StoreFault(kind, errno: errno, operation: operation, path: path)
        }
    }
}
