/// What both real backends do with sockets outside the data path: opening, naming, closing.

import CLinux
import Glibc

/// System calls on sockets, the same for io_uring and epoll.
enum LinuxSockets {
    // MARK: Listening

    /// A listening descriptor, as `LoopBackend.openListener` describes it. It is blocking: io_uring waits for readiness
    /// itself only on blocking descriptors; epoll's side sets it nonblocking.
    static func openListener(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> Int32 {
        let what = address.description
        let (storage, length) = try encode(address)
        let family = Int32(storage.ss_family)
        let descriptor = linux_socket(family)
        if descriptor < 0 { throw refused(-descriptor, "socket", address) }
        if family == AF_UNIX {
            // The mode of the descriptor is the mode that bind gives the path: there is no moment of wider permissions.
            if fchmod(descriptor, mode_t(options.mode)) < 0 {
                _ = linux_close(descriptor)
                throw SystemError(errno: EPERM, operation: "fchmod", subject: what)
            }
        } else {
            if options.reuseAddress { _ = linux_set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1) }
            _ = linux_set_option(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
            if let seconds = options.keepAliveSeconds { setKeepAlive(descriptor, seconds: seconds) }
            if let timeout = options.userTimeoutMilliseconds { setUserTimeout(descriptor, milliseconds: timeout) }
            if family == AF_INET6 { _ = linux_set_option(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
        }
        if let bytes = options.sendBufferBytes { setSendBuffer(descriptor, bytes: bytes) }
        if let bytes = options.receiveBufferBytes {
            _ = linux_set_option(descriptor, SOL_SOCKET, SO_RCVBUF, Int32(clamping: bytes))
        }
        var outcome = bind(descriptor, storage, length)
        if outcome == -EADDRINUSE, case .unix(let path) = address, options.replaceStale, isStale(storage, length) {
            _ = unlink(path)
            outcome = bind(descriptor, storage, length)
        }
        if outcome < 0 {
            _ = linux_close(descriptor)
            throw refused(-outcome, "bind", address)
        }
        outcome = linux_listen(descriptor, options.backlog)
        if outcome < 0 {
            _ = linux_close(descriptor)
            throw refused(-outcome, "listen", address)
        }
        return descriptor
    }

    /// Accepted connections inherit these (tcp(7)).
    private static func setKeepAlive(_ descriptor: Int32, seconds: Int) {
        let protocolLevel = Int32(IPPROTO_TCP)
        _ = linux_set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
        _ = linux_set_option(descriptor, protocolLevel, TCP_KEEPIDLE, Int32(clamping: max(1, seconds)))
        _ = linux_set_option(descriptor, protocolLevel, TCP_KEEPINTVL, Int32(clamping: max(1, seconds / 3)))
        _ = linux_set_option(descriptor, protocolLevel, TCP_KEEPCNT, 3)
    }

    /// `SO_SNDBUF`; the kernel doubles the number and caps it at net.core.wmem_max.
    static func setSendBuffer(_ descriptor: Int32, bytes: Int) {
        _ = linux_set_option(descriptor, SOL_SOCKET, SO_SNDBUF, Int32(clamping: bytes))
    }

    /// `TCP_USER_TIMEOUT`; 0 is the system's own patience. It stands above the count of keep-alive probes (tcp(7)).
    static func setUserTimeout(_ descriptor: Int32, milliseconds: Int) {
        _ = linux_set_option(descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, Int32(clamping: max(0, milliseconds)))
    }

    /// Whether a path is a socket where nobody listens any more.
    private static func isStale(_ storage: sockaddr_storage, _ length: socklen_t) -> Bool {
        let probe = linux_socket(AF_UNIX)
        if probe < 0 { return false }
        defer { _ = linux_close(probe) }
        // A full backlog must not be waited for; it says EAGAIN, which is somebody.
        _ = linux_set_nonblocking(probe, 1)
        return withUnsafePointer(to: storage) { linux_connect(probe, $0, length) } == -ECONNREFUSED
    }

    private static func bind(_ descriptor: Int32, _ storage: sockaddr_storage, _ length: socklen_t) -> Int32 {
        withUnsafePointer(to: storage) { linux_bind(descriptor, $0, length) }
    }

    /// The error of a listener that cannot be opened, with what to do about it.
    private static func refused(_ errno: Int32, _ operation: String, _ address: SocketAddress) -> SystemError {
        let isPath = address.isUnix
        let advice =
            switch errno {
            case EADDRINUSE where isPath: "another process listens there: stop it, or choose another runtime directory"
            case EADDRINUSE: "another process has the port: stop it, or choose another port"
            case EACCES where isPath: "the folder is not writable for this user"
            case EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one"
            case EADDRNOTAVAIL: "no interface of this machine has the address"
            case ENOENT: "the folder does not exist"
            case EAFNOSUPPORT: "the kernel has this address family switched off"
            case EMFILE, ENFILE: "raise the limit on open files (ulimit -n)"
            default: ""
            }
        return SystemError(errno: errno, operation: operation, subject: address.description, advice: advice)
    }

    // MARK: Addresses

    /// An address as the kernel wants it.
    static func encode(_ address: SocketAddress) throws(SystemError) -> (sockaddr_storage, socklen_t) {
        var storage = sockaddr_storage()
        switch address {
        case .ipv4(let number, let port):
            var inet = sockaddr_in()
            inet.sin_family = sa_family_t(AF_INET)
            inet.sin_port = port.bigEndian
            inet.sin_addr.s_addr = number.bigEndian
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: inet, as: sockaddr_in.self) }
            return (storage, socklen_t(MemoryLayout<sockaddr_in>.size))
        case .ipv6(let bytes, let port):
            var inet = sockaddr_in6()
            inet.sin6_family = sa_family_t(AF_INET6)
            inet.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &inet.sin6_addr) {
                $0.storeBytes(of: bytes.high.bigEndian, as: UInt64.self)
                $0.storeBytes(of: bytes.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: inet, as: sockaddr_in6.self) }
            return (storage, socklen_t(MemoryLayout<sockaddr_in6>.size))
        case .unix(let path):
            let utf8 = Array(path.utf8)
            let place = 2  // sun_path follows the two bytes of sun_family
            guard !utf8.isEmpty, utf8.count <= 107, !utf8.contains(0) else {
                throw SystemError(
                    errno: utf8.count > 107 ? ENAMETOOLONG : EINVAL, operation: "bind", subject: path,
                    advice: "a socket's path has 1 to 107 bytes: choose a shorter runtime directory")
            }
            storage.ss_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &storage) { bytes in
                for (index, byte) in utf8.enumerated() { bytes[place + index] = byte }
            }
            return (storage, socklen_t(place + utf8.count + 1))
        }
    }

    /// An address from the kernel; nil for families other than these.
    static func decode(_ storage: sockaddr_storage, _ length: socklen_t) -> SocketAddress? {
        withUnsafeBytes(of: storage) { bytes -> SocketAddress? in
            switch Int32(storage.ss_family) {
            case AF_INET:
                let inet = bytes.loadUnaligned(as: sockaddr_in.self)
                return .ipv4(UInt32(bigEndian: inet.sin_addr.s_addr), port: UInt16(bigEndian: inet.sin_port))
            case AF_INET6:
                let inet = bytes.loadUnaligned(as: sockaddr_in6.self)
                let halves = withUnsafeBytes(of: inet.sin6_addr) {
                    ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                }
                let address = SocketAddress.IPv6Bytes(
                    high: UInt64(bigEndian: halves.0), low: UInt64(bigEndian: halves.1))
                return .ipv6(address, port: UInt16(bigEndian: inet.sin6_port))
            case AF_UNIX:
                let path = bytes[2..<max(2, min(Int(length), bytes.count))].prefix { $0 != 0 }
                return .unix(path: String(decoding: path, as: UTF8.self))
            default:
                return nil
            }
        }
    }

    static func localAddress(_ descriptor: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return linux_local_address(descriptor, &storage, &length) < 0 ? nil : decode(storage, length)
    }

    /// `127.0.0.1:40312`, or `unix (process 123, user 0)`.
    static func peerDescription(_ descriptor: Int32) -> String { peer(descriptor)?.description ?? "gone" }

    /// Who is at the other end; nil when the connection is broken (ENOTCONN of getpeername(2)).
    static func peer(_ descriptor: Int32) -> PeerIdentity? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        if linux_peer_address(descriptor, &storage, &length) < 0 { return nil }
        guard let address = decode(storage, length) else { return nil }
        guard case .unix = address else { return .address(address) }
        var process: pid_t = 0
        var user: uid_t = 0
        return linux_peer_process(descriptor, &process, &user) < 0 ? nil : .process(process, user: user)
    }

    static func parseIPv4(_ text: String) -> UInt32? {
        var address = in_addr()
        return inet_pton(AF_INET, text, &address) == 1 ? UInt32(bigEndian: address.s_addr) : nil
    }

    static func parseIPv6(_ text: String) -> SocketAddress.IPv6Bytes? {
        var address = in6_addr()
        if inet_pton(AF_INET6, text, &address) != 1 { return nil }
        return withUnsafeBytes(of: address) {
            SocketAddress.IPv6Bytes(
                high: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    static func describeIPv6(_ bytes: SocketAddress.IPv6Bytes) -> String {
        var address = in6_addr()
        withUnsafeMutableBytes(of: &address) {
            $0.storeBytes(of: bytes.high.bigEndian, as: UInt64.self)
            $0.storeBytes(of: bytes.low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
            inet_ntop(AF_INET6, &address, text.baseAddress, 64) == nil ? "?" : String(cString: text.baseAddress!)
        }
    }

    // MARK: Ending

    /// Closes a descriptor. The standard ones are replaced by /dev/null instead: a connection must never become
    /// somebody's standard output.
    static func close(_ descriptor: Int32) {
        if descriptor > 2 {
            _ = linux_close(descriptor)
            return
        }
        let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
        if nothing < 0 { return }
        _ = dup2(nothing, descriptor)
        _ = linux_close(nothing)
    }

    // MARK: Signals

    /// Blocks signals for this thread (and those it starts later), so that they wait for the signalfd.
    static func blockedSet(_ signals: [Int32]) throws(SystemError) -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        let outcome = pthread_sigmask(SIG_BLOCK, &set, nil)
        if outcome != 0 { throw SystemError(errno: outcome, operation: "pthread_sigmask") }
        return set
    }

    /// A signalfd for signals, replacing the set of an existing one (-1: none yet).
    static func signalDescriptor(_ signals: [Int32], existing: Int32) throws(SystemError) -> Int32 {
        var set = try blockedSet(signals)
        let descriptor = linux_signal_descriptor(existing, &set)
        if descriptor < 0 { throw SystemError(errno: -descriptor, operation: "signalfd") }
        return descriptor
    }

    // MARK: Descriptors from outside

    /// Makes sure that a descriptor exists and can be read.
    static func checkReadable(_ descriptor: Int32) throws(SystemError) {
        let outcome = linux_can_read(descriptor)
        if outcome < 0 {
            throw SystemError(errno: -outcome, operation: "reading", subject: "descriptor \(descriptor)")
        }
    }
}
