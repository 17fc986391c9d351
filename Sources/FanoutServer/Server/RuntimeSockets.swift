/// The folder of sockets: made, locked for as long as the server lives, and left as it was found.

import Glibc
import Reactor
import Wire

/// Holds the lock on a runtime directory. Of any number of servers that are told to use it, one gets it.
struct RuntimeSockets: ~Copyable {
    let path: String
    private let lock: Int32
    /// Socket files this server made, with the inode each had: only these are removed at the end.
    private var made: [(path: String, inode: UInt64)] = []
    /// Folders outside the runtime directory that were made for sockets: they go with the last one in them.
    private var foldersMade: Set<String> = []

    /// Makes the folder if need be (0700) and locks it.
    init(_ path: String) throws(StartError) {
        _ = try Self.makeFolders(path)
        let lockPath = path + "/.lock"
        let descriptor = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Self.cannotCreate(lockPath) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            Glibc.close(descriptor)
            throw StartError(
                "another server uses \(path): stop it, or choose another folder with --runtime-dir",
                exitCode: .cannotCreate)
        }
        self.path = path
        lock = descriptor
    }

    deinit {
        for file in made where Self.inode(of: file.path) == file.inode {
            unlink(file.path)
            Self.removeEmptyFolders(above: file.path, below: path, foldersMade)
        }
        Glibc.close(lock)
    }

    /// Where a channel's ingest socket is.
    static func ingestPath(_ channel: ChannelName) -> String { "ingest/\(channel).socket" }

    /// Where a socket of this folder is.
    func place(_ name: String) -> String { path + "/" + name }

    /// Where a further ingest socket is: a relative path begins at this folder's parent.
    func furtherPlace(_ text: String) -> String {
        if text.hasPrefix("/") { return text }
        var folder = path[...]
        while folder.count > 1, folder.hasSuffix("/") { folder.removeLast() }
        guard let slash = folder.lastIndex(of: "/") else { return text }
        return folder[...slash] + text
    }

    /// Makes the folders of a socket at `full` and looks at what is there. A socket that a dead server of
    /// the same user left is taken over when it is bound, one where somebody listens never is; anything else is in
    /// the way.
    mutating func prepare(_ full: String) throws(StartError) -> SocketAddress {
        // sun_path holds 108 bytes with its terminator.
        guard full.utf8.count < 108 else {
            throw StartError(
                "the path \(full) is longer than a socket's may be (107 bytes): choose a shorter --runtime-dir"
                    + (full.hasPrefix(path + "/") ? "" : ", or a shorter path in \"ingest\""),
                exitCode: .cannotCreate)
        }
        if let slash = full.lastIndex(of: "/"), slash != full.startIndex {
            let folders = try Self.makeFolders(String(full[..<slash]))
            if !full.hasPrefix(path + "/") { foldersMade.formUnion(folders) }
        }
        var status = stat()
        if lstat(full, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFSOCK, status.st_uid == geteuid() else {
                throw StartError(
                    "\(full) is in the way: it is not a socket of this user; move it or choose another --runtime-dir",
                    exitCode: .cannotCreate)
            }
        }
        return .unix(path: full)
    }

    /// Remembers a socket that was made, so that it is removed at the end.
    mutating func noteMade(_ address: SocketAddress) {
        guard case .unix(let path) = address, let inode = Self.inode(of: path) else { return }
        made.append((path, inode))
    }

    /// Removes a socket that was made here.
    mutating func remove(_ address: SocketAddress) {
        guard case .unix(let path) = address, let place = made.firstIndex(where: { $0.path == path }) else { return }
        if Self.inode(of: path) == made[place].inode {
            unlink(path)
            Self.removeEmptyFolders(above: path, below: self.path, foldersMade)
        }
        made.remove(at: place)
    }

    /// Removes the folders that a socket was the last file in, up to the runtime directory itself; elsewhere those that
    /// were made for it.
    private static func removeEmptyFolders(above file: String, below root: String, _ made: Set<String>) {
        var folder = file
        while let slash = folder.lastIndex(of: "/") {
            folder = String(folder[..<slash])
            guard folder.hasPrefix(root + "/") || made.contains(folder), rmdir(folder) == 0 else { return }
        }
    }

    private static func inode(of path: String) -> UInt64? {
        var status = stat()
        return lstat(path, &status) == 0 ? UInt64(status.st_ino) : nil
    }

    /// Makes a folder and those above it that are not there (0700), and returns which were made.
    private static func makeFolders(_ path: String) throws(StartError) -> [String] {
        var made = ""
        var new: [String] = []
        for part in path.split(separator: "/", omittingEmptySubsequences: true) {
            made += (made.isEmpty && !path.hasPrefix("/") ? "" : "/") + part
            if mkdir(made, 0o700) == 0 { new.append(made) } else if errno != EEXIST { throw cannotCreate(made) }
        }
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw StartError("\(path) is not a folder: choose another --runtime-dir", exitCode: .cannotCreate)
        }
        guard status.st_mode & S_IWOTH == 0 || status.st_mode & S_ISVTX != 0 else {
            throw StartError(
                "\(path) can be written by everyone, so anyone could replace the sockets in it: chmod o-w it",
                exitCode: .configuration)
        }
        return new
    }

    private static func cannotCreate(_ path: String) -> StartError {
        StartError(
            "cannot create \(path): \(SystemError.text(of: errno)); choose another folder with --runtime-dir",
            exitCode: .cannotCreate)
    }
}
