/// Standard input, output and error, where the parent process closed them.

import Glibc

enum StandardDescriptors {
    /// Puts /dev/null in the place of those that are closed. Otherwise the first sockets that are opened get their
    /// numbers, and what is meant for the operator is written to a client.
    static func occupyClosed() {
        for standard in STDIN_FILENO...STDERR_FILENO where fcntl(standard, F_GETFD) == -1 {
            // The lowest free number is this one.
            _ = open("/dev/null", O_RDWR)
        }
    }
}
