/// Where a load client connects to.

import Glibc

/// A place that a stream socket can be connected to.
package enum Destination: Equatable, Sendable {
    /// TCP over IPv4; the address in host byte order.
    case ipv4(address: UInt32, port: UInt16)
    /// TCP over IPv6; the halves of the address in host byte order.
    case ipv6(high: UInt64, low: UInt64, port: UInt16)
    /// A unix socket in the file system.
    case unix(String)

    /// Reads `a.b.c.d:port`, `localhost:port` or `unix:PATH`; nil for anything else: names are not looked up.
    package init?(_ text: String) {
        if text.hasPrefix("unix:") {
            guard text.utf8.count > 5 else { return nil }
            self = .unix(String(text.dropFirst(5)))
            return
        }
        let halves = text.split(separator: ":", omittingEmptySubsequences: false)
        guard halves.count == 2, let port = UInt16(halves[1]), port != 0 else { return nil }
        self.init(ipv4: halves[0] == "localhost" ? "127.0.0.1" : halves[0], port: port)
    }

    /// Reads `a.b.c.d`; nil for anything else.
    init?(ipv4 text: Substring, port: UInt16) {
        let written = text.split(separator: ".", omittingEmptySubsequences: false)
        let parts = written.compactMap { UInt8($0) }
        guard written.count == 4, parts.count == 4 else { return nil }
        self = .ipv4(address: parts.reduce(0) { $0 << 8 | UInt32($1) }, port: port)
    }

    /// Whether it is an address of 127.0.0.0/8, which may be connected to from any of them.
    package var isLoopback: Bool {
        if case .ipv4(let address, _) = self { return address >> 24 == 127 }
        return false
    }

    /// What an HTTP request's `Host` field says where nobody has written a name.
    package var hostField: String {
        guard case .ipv4(let a, let port) = self else { return "localhost" }
        return "\(a >> 24).\(a >> 16 & 255).\(a >> 8 & 255).\(a & 255):\(port)"
    }
}
