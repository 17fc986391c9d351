/// A file that keeps a reader's place from one run to the next.

import Glibc
import Wire

/// What is wrong with a resume file.
package struct ResumeFileFault: Error, Equatable {
    /// What a program decides by.
    package enum Kind: Equatable, Sendable {
        /// It is there and cannot be read, or is no file.
        case unreadable
        /// It is there and does not hold a cursor.
        case notACursor
        /// Another reader keeps its place in it.
        case inUse
        /// It is not there and cannot be made.
        case cannotCreate
        /// A place cannot be written into it.
        case cannotWrite
    }

    /// What a program decides by.
    package let kind: Kind
    /// One line for a person: what, where, why, and what to do.
    package let message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = OneLine.of(message)
    }
}

/// One cursor as text, 38 bytes with line feeds behind it, overwritten where it stands: one small pwrite(2) into a
/// block that the file has, which neither a sudden end nor a full disk leaves half done, and which costs no more than a
/// line does. Made whole or not at all. Locked for as long as it is open.
///
/// A file that is not there is made by the first `store`, so that a reader that never learns its place leaves none.
package struct ResumeFile: ~Copyable {
    /// Where the file is.
    package let path: String
    /// The place that it holds; nil while there is none.
    package private(set) var place: Cursor?
    /// Negative exactly while the file is not there.
    private var descriptor: Int32 = -1

    /// What is written: the longest cursor and a line feed.
    private static let recordBytes = Cursor.byteCountMax + 1
    /// What is read: people and editors may add blanks.
    private static let fileBytesMax = 128

    /// Opens, locks and reads the file, if it is there; if not, its folder has to be.
    /// - Throws: `unreadable`, `notACursor`, `inUse`; `cannotCreate` where it cannot be made later.
    package init(_ path: String) throws(ResumeFileFault) {
        self.path = path
        // Nonblocking, so that a pipe of that name is told apart rather than waited for.
        let opened = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        if opened < 0 {
            let number = errno
            guard number == ENOENT else {
                throw ResumeFileFault(
                    .unreadable, "cannot open \(path): \(Self.text(number)) (it has to be a file of yours)")
            }
            try Self.checkFolder(of: path)
            return
        }
        do throws(ResumeFileFault) {
            var status = stat()
            guard fstat(opened, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
                throw ResumeFileFault(.unreadable, "\(path) is not a file that a place can be kept in")
            }
            try Self.lock(opened, path)
            place = try Self.read(opened, path)
        } catch {
            close(opened)
            throw error
        }
        descriptor = opened
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Writes a place, if it is another one than the file holds. It survives the sudden end of this process at once, a
    /// loss of power when the kernel has written it to the disk.
    /// - Throws: `cannotWrite`; for the first place of a file that was not there also `cannotCreate` and `inUse`.
    package mutating func store(_ place: Cursor) throws(ResumeFileFault) {
        guard place != self.place else { return }
        var record: [UInt8] = []
        place.append(to: &record)
        while record.count < Self.recordBytes { record.append(UInt8(ascii: "\n")) }
        if descriptor < 0 {
            descriptor = try Self.make(path, record)
        } else {
            var status = stat()
            guard fstat(descriptor, &status) == 0, status.st_nlink > 0 else {
                throw ResumeFileFault(
                    .cannotWrite,
                    "\(path) was removed while it was in use: the place \(Self.name(self.place)) was its last")
            }
            let number = Self.write(record, to: descriptor)
            if number != 0 {
                throw ResumeFileFault(
                    .cannotWrite,
                    "cannot write \(path): \(Self.text(number)) (\(Self.advice(number)); it stays at "
                        + "\(Self.name(self.place)): what was printed after it will be printed again)")
            }
        }
        self.place = place
    }
}

// MARK: - The file

extension ResumeFile {
    private static func checkFolder(of path: String) throws(ResumeFileFault) {
        let folder = folder(of: path)
        if access(folder, W_OK | X_OK) == 0 { return }
        throw ResumeFileFault(
            .cannotCreate, "cannot make \(path): \(text(errno)) (its folder has to be there and be writable)")
    }

    private static func lock(_ descriptor: Int32, _ path: String) throws(ResumeFileFault) {
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            switch errno {
            case EINTR: continue
            case EWOULDBLOCK:
                throw ResumeFileFault(
                    .inUse, "\(path) is in use: another reader keeps its place in it (each needs a file of its own)")
            default: throw ResumeFileFault(.inUse, "cannot lock \(path): \(text(errno)) (choose another file system)")
            }
        }
    }

    private static func read(_ descriptor: Int32, _ path: String) throws(ResumeFileFault) -> Cursor {
        var bytes = [UInt8](repeating: 0, count: fileBytesMax + 1)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        guard count >= 0 else {
            throw ResumeFileFault(.unreadable, "cannot read \(path): \(text(errno)) (it has to be a file of yours)")
        }
        var held = bytes[..<count]
        while let last = held.last, [0x20, 0x09, 0x0A, 0x0D].contains(last) { held.removeLast() }
        if held.isEmpty {
            throw ResumeFileFault(
                .notACursor,
                "\(path) is empty: it names no place to go on from (remove it to begin as if for the first time)")
        }
        let text = Array(held)
        guard count <= fileBytesMax, let place = Cursor(text.span) else {
            throw ResumeFileFault(
                .notACursor,
                "\(path) does not hold a cursor, such as 9f86d081884c7d65-42, and was left as it is (is it another "
                    + "program's? Remove it to begin as if for the first time)")
        }
        return place
    }

    /// Makes the file with its first place in it: under another name, because whoever finds it has to find it whole.
    private static func make(_ path: String, _ record: [UInt8]) throws(ResumeFileFault) -> Int32 {
        let name = "\(path).\(getpid()).new"
        // A process of this number that was killed here may have left one.
        unlink(name)
        let made = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard made >= 0 else { throw cannotMake(path, errno) }
        do throws(ResumeFileFault) {
            try lock(made, path)
            var number = write(record, to: made)
            if number == 0, fsync(made) != 0, errno != EINVAL { number = errno }
            if number != 0 { throw cannotMake(path, number) }
            if link(name, path) != 0 {
                let number = errno
                if number == EEXIST {
                    throw ResumeFileFault(
                        .inUse, "\(path) has appeared meanwhile: another reader keeps its place in it, or it is a link")
                }
                // Some file systems have no links.
                guard number == EPERM || number == EOPNOTSUPP, rename(name, path) == 0 else {
                    throw cannotMake(path, number)
                }
            }
        } catch {
            unlink(name)
            close(made)
            throw error
        }
        unlink(name)
        // The name is on the disk before anything is printed that only this file remembers.
        let folder = open(folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
        return made
    }

    /// Overwrites the record; the errno, 0 where all went well.
    private static func write(_ record: [UInt8], to descriptor: Int32) -> Int32 {
        var done = 0
        while done < record.count {
            let count = record.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress.map { $0 + done }, record.count - done, off_t(done))
            }
            if count > 0 {
                done += count
            } else if count == 0 {
                return ENOSPC
            } else if errno != EINTR {
                return errno
            }
        }
        return 0
    }

    private static func cannotMake(_ path: String, _ number: Int32) -> ResumeFileFault {
        ResumeFileFault(.cannotCreate, "cannot make \(path): \(text(number)) (\(advice(number)))")
    }

    private static func advice(_ number: Int32) -> String {
        switch number {
        case ENOSPC, EDQUOT: "make room on its file system"
        case EFBIG: "raise the limit of file sizes, ulimit -f"
        case EROFS, EACCES, EPERM: "choose a file that you may write to"
        default: "its disk may fail"
        }
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func name(_ place: Cursor?) -> String { place?.description ?? "none" }

    private static func text(_ number: Int32) -> String { String(cString: strerror(number)) }
}
