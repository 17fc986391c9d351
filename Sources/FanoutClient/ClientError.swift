/// What can go wrong between a client and its server.

import Wire

/// An error of `EventSubscription` or `EventEmitter`.
public struct ClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it is: what a program decides by.
    public enum Kind: Sendable, Equatable {
        /// No connection could be made: nobody listens there, or the address does not exist.
        case unreachable
        /// There was a connection and it ended too early.
        case lost
        /// The server did not answer in time.
        case timedOut
        /// The server answered with an error. `code` is the one of `{"error":{"code":…}}`; `status` is the HTTP status,
        /// nil on sockets that do not speak HTTP.
        case refused(code: String, status: Int?)
        /// The stream ended with a `$bye` after which coming back is no use.
        case ended(code: Int)
        /// The other end does not speak the protocol.
        case protocolFault
        /// The caller's event or address cannot be sent.
        case invalidInput
    }

    /// What kind of failure it is.
    public let kind: Kind
    /// One line for a person: what, where, and what to do.
    public let message: String

    /// An error with its line. What a server says may be in it: control characters are escaped, and it is cut.
    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = OneLine.of(message)
    }

    /// The line for a person.
    public var description: String { message }
}
