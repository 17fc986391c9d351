/// The small file beside the database that tells a database put back from an earlier day.

import CSQLite
import Wire

/// Up to which number events may have been numbered, and how the database file looked when it was last closed.
///
/// The file is one line, `<16 hex digits> <16 hex digits>`: 34 bytes, so that no disk writes half of it. It is written
/// in place, which takes no space: also a full disk lets numbering go on.
struct HighWater: Equatable {
    /// No greater number was given to any event.
    var number: UInt64
    /// While the database is open `HighWater.isOpen`; after a clean end the time of the file's last change, or 0 where
    /// the file system has none.
    var seal: UInt64

    /// The seal of a database that is in use.
    static let isOpen = UInt64.max
    private static let byteCount = HexText.byteCount * 2 + 2

    /// The file's content; nil where there is none, or none that `write` wrote.
    static func read(_ path: String, vfs: String?) throws(StoreFault) -> HighWater? {
        var bytes = [UInt8](repeating: 0, count: byteCount + 1)
        var count: Int32 = 0
        var errno: Int32 = 0
        let result = store_file_read(vfs, path, &bytes, Int32(bytes.count), &count, &errno)
        guard result == SQLITE_OK else {
            throw StoreFault(code: result, errno: errno, operation: "read", path: path, detail: "")
        }
        return HighWater(bytes.span.extracting(..<Int(count)))
    }

    /// Writes the file, and returns when it is on the disk.
    func write(_ path: String, vfs: String?) throws(StoreFault) {
        var bytes: [UInt8] = []
        bytes.append(hex16: number)
        bytes.append(UInt8(ascii: " "))
        bytes.append(hex16: seal)
        bytes.append(UInt8(ascii: "\n"))
        var errno: Int32 = 0
        let result = store_file_write(vfs, path, bytes, Int32(bytes.count), &errno)
        guard result == SQLITE_OK else {
            throw StoreFault(code: result, errno: errno, operation: "write", path: path, detail: "")
        }
    }

    init(number: UInt64, seal: UInt64) {
        self.number = number
        self.seal = seal
    }

    init?(_ text: Span<UInt8>) {
        let middle = HexText.byteCount
        guard text.count == Self.byteCount, text[middle] == UInt8(ascii: " "),
            text[Self.byteCount - 1] == UInt8(ascii: "\n"),
            let number = HexText.parse(text.extracting(..<middle)), number <= UInt64(StoreLimits.numberMax),
            let seal = HexText.parse(text.extracting((middle + 1)..<(Self.byteCount - 1)))
        else { return nil }
        self.init(number: number, seal: seal)
    }
}
