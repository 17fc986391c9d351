/// Nonblocking client connections, from many source addresses.

import CLinux
import Glibc

/// What became of an attempt to connect.
package enum ConnectOutcome {
    /// It stands, on this descriptor.
    case connected(Int32)
    /// The descriptor becomes writable when it stands or has failed; `pendingError` says which.
    case inProgress(Int32)
    /// The listener's backlog is full (unix sockets say so at once): try again a little later.
    case tryLater
    /// The errno; no descriptor is left open.
    case failed(Int32)
}

/// Opens a nonblocking connection, closed on exec. `source`, an address of 127.0.0.0/8 in host byte order, is bound
/// first, so that the ephemeral ports of several addresses can be used; the port itself is chosen at connect
/// (IP_BIND_ADDRESS_NO_PORT).
package func openConnection(to destination: Destination, source: UInt32?) -> ConnectOutcome {
    switch destination {
    case .unix(let path): return openUnix(path)
    case .ipv4(let address, let port):
        let descriptor = openTCP(AF_INET)
        if descriptor < 0 { return .failed(errno) }
        if let source {
            var one: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, &one, 4)
            var name = ipv4Name(source, 0)
            let bound = withSocketAddress(&name) { bind(descriptor, $0, $1) }
            if bound != 0 { return giveUp(descriptor) }
        }
        var name = ipv4Name(address, port)
        return finish(descriptor, withSocketAddress(&name) { connect(descriptor, $0, $1) })
    case .ipv6(let high, let low, let port):
        let descriptor = openTCP(AF_INET6)
        if descriptor < 0 { return .failed(errno) }
        var name = ipv6Name(high, low, port)
        return finish(descriptor, withSocketAddress(&name) { connect(descriptor, $0, $1) })
    }
}

/// The loopback address that connection `serial` of this process uses, nil where the destination is not loopback.
///
/// One for every 10,000 connections: about 28,000 ephemeral ports belong to each. Runs that follow one another begin at
/// different addresses, since closed connections hold their ports for a minute.
package func sourceAddress(of serial: Int, to destination: Destination) -> UInt32? {
    guard destination.isLoopback else { return nil }
    return 127 << 24 | UInt32(getpid() % 251) << 8 | UInt32(2 + serial / 10_000 % 250)
}

private let nonblockingFlags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)

private func openTCP(_ family: Int32) -> Int32 {
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | nonblockingFlags, 0)
    var one: Int32 = 1
    if descriptor >= 0 { setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4) }
    return descriptor
}

private func openUnix(_ path: String) -> ConnectOutcome {
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    if bytes.count >= MemoryLayout.size(ofValue: name.sun_path) { return .failed(ENAMETOOLONG) }
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | nonblockingFlags, 0)
    if descriptor < 0 { return .failed(errno) }
    return finish(descriptor, withSocketAddress(&name) { connect(descriptor, $0, $1) })
}

private func ipv4Name(_ address: UInt32, _ port: UInt16) -> sockaddr_in {
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = port.bigEndian
    name.sin_addr.s_addr = address.bigEndian
    return name
}

private func ipv6Name(_ high: UInt64, _ low: UInt64, _ port: UInt16) -> sockaddr_in6 {
    var name = sockaddr_in6()
    name.sin6_family = sa_family_t(AF_INET6)
    name.sin6_port = port.bigEndian
    withUnsafeMutableBytes(of: &name.sin6_addr) {
        $0.storeBytes(of: high.bigEndian, as: UInt64.self)
        $0.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    return name
}

private func withSocketAddress<Name>(
    _ name: inout Name, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    withUnsafePointer(to: &name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<Name>.size)) }
    }
}

private func finish(_ descriptor: Int32, _ result: Int32) -> ConnectOutcome {
    if result == 0 { return .connected(descriptor) }
    switch errno {
    case EINPROGRESS: return .inProgress(descriptor)
    case EAGAIN:
        Glibc.close(descriptor)
        return .tryLater
    default: return giveUp(descriptor)
    }
}

private func giveUp(_ descriptor: Int32) -> ConnectOutcome {
    let code = errno
    Glibc.close(descriptor)
    return .failed(code)
}

/// The error that a connect in progress ended with, 0 for none.
package func pendingError(_ descriptor: Int32) -> Int32 {
    var code: Int32 = 0
    var size = socklen_t(4)
    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno
}
