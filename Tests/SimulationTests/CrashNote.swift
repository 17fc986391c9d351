/// Says which seed was running when the process traps: a precondition of the server is a finding too.

import Glibc

/// One line that is written to standard error if the process is stopped by a trap.
enum CrashNote {
    nonisolated(unsafe) private static let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 512)
    nonisolated(unsafe) private static var count = 0
    private static let isInstalled: Bool = {
        for number in [SIGILL, SIGTRAP, SIGSEGV, SIGABRT] {
            signal(number) { number in
                write(STDERR_FILENO, CrashNote.bytes, CrashNote.count)
                signal(number, SIG_DFL)
                raise(number)
            }
        }
        return true
    }()

    static func set(_ text: String) {
        _ = isInstalled
        count = 0
        for byte in text.utf8.prefix(512) {
            bytes[count] = byte
            count += 1
        }
    }
}
