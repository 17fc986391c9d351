/// From a host's name to its address.

import CLinux
import Glibc

/// Why a host has no address, in the resolver's words.
package struct LookupFault: Error, Equatable {
    /// One line for a person.
    package let text: String
}

extension Destination {
    /// Where `host` is: an IPv4 address, an IPv6 address without brackets, or a name, of which the resolver's first
    /// address is taken. `localhost` is 127.0.0.1, which is connected to from many addresses. Waits for the resolver.
    package static func find(_ host: String, port: UInt16) throws(LookupFault) -> Destination {
        if let written = Destination(ipv4: host == "localhost" ? "127.0.0.1" : host[...], port: port) { return written }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, &hints, &list)
        guard result == 0 else { throw LookupFault(text: String(cString: gai_strerror(result))) }
        defer { freeaddrinfo(list) }
        var next = list
        while let entry = next {
            if let found = Destination(entry.pointee, port: port) { return found }
            next = entry.pointee.ai_next
        }
        throw LookupFault(text: "it has no address")
    }

    private init?(_ entry: addrinfo, port: UInt16) {
        guard let name = UnsafeRawPointer(entry.ai_addr) else { return nil }
        switch entry.ai_family {
        case AF_INET where Int(entry.ai_addrlen) >= MemoryLayout<sockaddr_in>.size:
            let address = name.loadUnaligned(as: sockaddr_in.self).sin_addr.s_addr
            self = .ipv4(address: UInt32(bigEndian: address), port: port)
        case AF_INET6 where Int(entry.ai_addrlen) >= MemoryLayout<sockaddr_in6>.size:
            let address = name.loadUnaligned(as: sockaddr_in6.self).sin6_addr
            let (high, low) = withUnsafeBytes(of: address) {
                ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            }
            self = .ipv6(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low), port: port)
        default: return nil
        }
    }
}
