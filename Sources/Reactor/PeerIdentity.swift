/// Who is at the other end of a connection, for limits and records.

/// What the kernel says of a peer.
package enum PeerIdentity: Hashable, Sendable, CustomStringConvertible {
    /// A TCP peer's address and port.
    case address(SocketAddress)
    /// The process that connected a unix socket, and its user (SO_PEERCRED of unix(7)): as they were then. Both as this
    /// process's namespaces show them: a user that has no name there is 65534, a process 0.
    case process(Int32, user: UInt32)

    /// As `EventLoop.peerDescription(of:)` has it.
    package var description: String {
        switch self {
        case .address(let address): address.description
        case .process(let process, let user): "unix (process \(process), user \(user))"
        }
    }
}
