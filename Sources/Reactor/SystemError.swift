/// What the operating system refused, for the one line that an operator reads.

import CLinux
import Glibc

/// A system call that failed while something was set up. Failures of running operations are completions' results.
package struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kernel's reason, positive.
    package let errno: Int32
    /// The system call, or what was attempted.
    package let operation: String
    /// What it was attempted on: an address, a path, a descriptor; empty where that says nothing.
    package let subject: String
    /// What the operator can do; empty where nothing sensible can be said.
    package let advice: String

    /// `errno` is positive: a negative result is turned round first.
    package init(errno: Int32, operation: String, subject: String = "", advice: String = "") {
        self.errno = errno
        self.operation = operation
        self.subject = subject
        self.advice = advice
    }

    /// One line: what, where, why, and what to do.
    package var description: String {
        let place = subject.isEmpty ? "" : " \(subject)"
        let hint = advice.isEmpty ? "" : "; \(advice)"
        return "\(operation)\(place): \(SystemError.name(of: errno)) (\(SystemError.text(of: errno)))\(hint)"
    }

    /// The kernel's sentence for an error number.
    package static func text(of errno: Int32) -> String {
        String(cString: strerror(errno))
    }

    /// The symbolic name of an error number, or `errno 123`.
    package static func name(of errno: Int32) -> String {
        guard let name = linux_error_name(errno) else { return "errno \(errno)" }
        return String(cString: name)
    }
}
