// Sockets as this program needs them: nonblocking clients over IPv4 and unix, from many source addresses.

import CLinux
import Glibc

/// Where to connect.
enum Endpoint {
    case ipv4(address: UInt32, port: UInt16)
    case unix(String)

    /// `a.b.c.d:port` or `unix:PATH`; `flag` is named in the refusal.
    init(_ flag: String, _ text: String) throws(Refusal) {
        if text.hasPrefix("unix:") {
            self = .unix(String(text.dropFirst(5)))
            return
        }
        let halves = text.split(separator: ":", omittingEmptySubsequences: false)
        let parts = halves[0].split(separator: ".", omittingEmptySubsequences: false).compactMap { UInt8($0) }
        guard halves.count == 2, parts.count == 4, let port = UInt16(halves[1]), port != 0 else {
            throw .usage("\(flag): \(text): expected a.b.c.d:port or unix:PATH")
        }
        self = .ipv4(address: parts.reduce(0) { $0 << 8 | UInt32($1) }, port: port)
    }

    var isLoopback: Bool {
        if case .ipv4(let address, _) = self { return address >> 24 == 127 }
        return false
    }

    var hostField: String {
        guard case .ipv4(let a, let port) = self else { return "localhost" }
        return "\(a >> 24).\(a >> 16 & 255).\(a >> 8 & 255).\(a & 255):\(port)"
    }
}

/// What became of an attempt to connect.
enum ConnectOutcome {
    case connected(Int32)
    case inProgress(Int32)
    /// The listener's backlog is full (unix sockets say so at once): try again a little later.
    case tryLater
    case failed(Int32)
}

/// Opens a nonblocking connection. `source`, an address of 127.0.0.0/8, is bound first, so that the ephemeral ports of
/// several addresses can be used; the port itself is chosen at connect (IP_BIND_ADDRESS_NO_PORT).
func openConnection(to endpoint: Endpoint, source: UInt32?) -> ConnectOutcome {
    switch endpoint {
    case .unix(let path): return openUnix(path)
    case .ipv4(let address, let port):
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | nonblockingFlags, 0)
        if descriptor < 0 { return .failed(errno) }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        if let source {
            setsockopt(descriptor, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, &one, 4)
            var name = ipv4Name(source, 0)
            let bound = withSocketAddress(&name) { bind(descriptor, $0, $1) }
            if bound != 0 { return giveUp(descriptor) }
        }
        var name = ipv4Name(address, port)
        return finish(descriptor, withSocketAddress(&name) { connect(descriptor, $0, $1) })
    }
}

private let nonblockingFlags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)

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
func pendingError(_ descriptor: Int32) -> Int32 {
    var code: Int32 = 0
    var size = socklen_t(4)
    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno
}

/// Raises the soft limit of open files to the hard one; returns it.
func raiseDescriptorLimit() -> Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: limit.rlim_cur)
}

/// Nanoseconds of CLOCK_MONOTONIC: one scale for all processes of the machine.
func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// The message that goes with an errno.
func errorText(_ code: Int32) -> String {
    String(cString: strerror(code))
}
