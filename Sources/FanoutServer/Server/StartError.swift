/// Why a server could not start, as the one line an operator reads and the status the process ends with.

/// An error before the first connection. `description` says what, where and what to do about it.
public struct StartError: Error, Sendable, CustomStringConvertible {
    /// Exit statuses after sysexits(3).
    public enum ExitCode: Int32, Sendable {
        /// A socket, lock or folder cannot be created, or is in use.
        case cannotCreate = 73
        /// An input or output error.
        case io = 74
        /// The configuration is wrong or forbidden.
        case configuration = 78
    }

    /// What, where, and what to do.
    public let message: String
    /// The status the process should end with.
    public let exitCode: ExitCode

    /// An error with its sentence.
    public init(_ message: String, exitCode: ExitCode) {
        self.message = message
        self.exitCode = exitCode
    }

    /// The message.
    public var description: String { message }
}
