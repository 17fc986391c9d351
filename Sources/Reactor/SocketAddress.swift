/// Where a socket listens or comes from.

/// A stream socket's address.
package enum SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// The address as a number (127.0.0.1 is 0x7F000001).
    case ipv4(UInt32, port: UInt16)
    /// The address's 16 bytes in network order.
    case ipv6(IPv6Bytes, port: UInt16)
    /// A path in the file system, at most 107 bytes.
    case unix(path: String)

    /// 16 bytes, high half first.
    package struct IPv6Bytes: Hashable, Sendable {
        /// The first eight bytes, the first one highest.
        package let high: UInt64
        /// The last eight bytes, likewise.
        package let low: UInt64

        package init(high: UInt64, low: UInt64) {
            self.high = high
            self.low = low
        }
    }

    /// 127.0.0.1.
    package static func loopback(port: UInt16) -> SocketAddress {
        .ipv4(0x7F00_0001, port: port)
    }

    /// `1.2.3.4:80`, `[::1]:80` or `localhost:80` (which means 127.0.0.1); nil for anything else, names included.
    package init?(parsing text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let host = text[..<colon]
        let digits = text[text.index(after: colon)...]
        guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = UInt16(digits)
        else { return nil }
        if host == "localhost" {
            self = .loopback(port: port)
        } else if host.hasPrefix("["), host.hasSuffix("]") {
            guard let bytes = LinuxSockets.parseIPv6(String(host.dropFirst().dropLast())) else { return nil }
            self = .ipv6(bytes, port: port)
        } else {
            guard let address = LinuxSockets.parseIPv4(String(host)) else { return nil }
            self = .ipv4(address, port: port)
        }
    }

    /// True exactly when only this machine can reach the address: 127.0.0.0/8, ::1, unix sockets.
    package var isLoopback: Bool {
        switch self {
        case .ipv4(let address, _): address >> 24 == 127
        case .ipv6(let bytes, _): bytes.high == 0 && bytes.low == 1
        case .unix: true
        }
    }

    /// True exactly for paths.
    package var isUnix: Bool {
        if case .unix = self { true } else { false }
    }

    /// The port; nil for unix sockets.
    package var port: UInt16? {
        switch self {
        case .ipv4(_, let port), .ipv6(_, let port): port
        case .unix: nil
        }
    }

    /// `127.0.0.1:7575`, `[::1]:7575` or the path: what `init(parsing:)` reads, where there is a port.
    package var description: String {
        switch self {
        case .ipv4(let a, let port): "\(a >> 24).\(a >> 16 & 255).\(a >> 8 & 255).\(a & 255):\(port)"
        case .ipv6(let bytes, let port): "[\(LinuxSockets.describeIPv6(bytes))]:\(port)"
        case .unix(let path): path
        }
    }
}
