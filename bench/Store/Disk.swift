// What the disk itself can do, without a database: the limit that appends are held against.

import Glibc

/// How many times a second the disk takes `bytes` and says that it has them, written behind one another into a file
/// that is as long already, as a write-ahead log is after its first round.
func syncsPerSecond(in directory: String, bytes: Int, seconds: Double) -> Double {
    let path = "\(directory)/disk-limit"
    let file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { return 0 }
    defer {
        close(file)
        unlink(path)
    }
    let block = [UInt8](repeating: 0x55, count: bytes)
    let length = max(32 << 20, bytes * 4)
    for offset in stride(from: 0, to: length - bytes, by: bytes) { _ = pwrite(file, block, bytes, offset) }
    fsync(file)
    var count = 0
    var offset = 0
    let start = monotonicNs()
    while Double(monotonicNs() - start) < seconds * 1e9 {
        guard pwrite(file, block, bytes, offset) == bytes, fdatasync(file) == 0 else { return 0 }
        offset = offset + 2 * bytes > length ? 0 : offset + bytes
        count += 1
    }
    return Double(count) / (Double(monotonicNs() - start) / 1e9)
}

/// Takes a file's pages out of the kernel's cache, as far as they are on the disk.
func forget(_ path: String) {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    fsync(file)
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)
    close(file)
}
