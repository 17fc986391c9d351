/// The command's exit codes, after sysexits.h.

/// What the process says with its exit status.
package enum ExitCode {
    /// All went well.
    package static let success: Int32 = 0
    /// A measurement found deliveries that were wrong.
    package static let faults: Int32 = 1
    /// The command line was wrong (EX_USAGE).
    package static let usage: Int32 = 64
    /// The event was not JSON, or not one that the server takes (EX_DATAERR).
    package static let data: Int32 = 65
    /// A file that the command needs cannot be read (EX_NOINPUT).
    package static let noInput: Int32 = 66
    /// The server cannot be reached, or did not answer (EX_UNAVAILABLE).
    package static let unavailable: Int32 = 69
    /// A socket or address cannot be created (EX_CANTCREAT).
    package static let cannotCreate: Int32 = 73
    /// Reading or writing failed (EX_IOERR).
    package static let inputOutput: Int32 = 74
    /// The other end does not speak the protocol (EX_PROTOCOL).
    package static let protocolFault: Int32 = 76
    /// The configuration file or the environment is wrong (EX_CONFIG).
    package static let configuration: Int32 = 78
    /// Interrupted: 128 and the number of SIGINT.
    package static let interrupted: Int32 = 130

    /// What the help says of a code.
    package static func meaning(_ code: Int32) -> String {
        switch code {
        case success: "success"
        case faults: "deliveries were missing, repeated or wrong"
        case usage: "the command line is wrong"
        case data: "the event is not JSON, or not one that the server takes"
        case noInput: "a file cannot be read"
        case unavailable: "the server cannot be reached, or ended the stream"
        case cannotCreate: "an address or a socket is busy or cannot be created"
        case inputOutput: "reading or writing failed"
        case protocolFault: "the other end is not a fanout server"
        case configuration: "the configuration file or the environment is wrong"
        case interrupted: "interrupted by Ctrl-C"
        default: "unknown"
        }
    }
}

/// A command that ends without having done its work: one line for a person, one code for a script.
package struct CommandFault: Error, Equatable {
    /// What, where and what to do, without the command's name.
    package let message: String
    /// One of `ExitCode`.
    package let exitCode: Int32
    /// Whether the message stands alone: its lines already begin with a place in a file.
    package let isBare: Bool

    /// A message that the command's name is put in front of.
    package init(_ message: String, exitCode: Int32) {
        self.message = message
        self.exitCode = exitCode
        self.isBare = false
    }

    /// Lines that are printed as they are.
    package init(bareLines: String, exitCode: Int32) {
        self.message = bareLines
        self.exitCode = exitCode
        self.isBare = true
    }
}
