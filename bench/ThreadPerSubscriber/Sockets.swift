// Blocking sockets: listening, with the buffers that fanout's have, and accepting on a thread.

import Glibc

/// A system call that failed.
struct SystemFault: Error, CustomStringConvertible {
    var operation: String
    var errno: Int32
    var description: String { "\(operation): \(String(cString: strerror(errno)))" }
}

private enum SocketBuffers {
    static let sendTCPBytes: Int32 = 256 * 1024
    static let receiveTCPBytes: Int32 = 256 * 1024
    static let sendUnixBytes: Int32 = 64 * 1024
}

/// How long a reader may take nothing before its thread gives it up.
private let writeTimeoutSeconds = 5

private func set(_ socket: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(socket, level, option, &value, 4)
}

private func opened(_ family: Int32) throws(SystemFault) -> Int32 {
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    if descriptor < 0 { throw SystemFault(operation: "socket", errno: errno) }
    return descriptor
}

private func listen<Name>(_ descriptor: Int32, at name: Name, _ text: String) throws(SystemFault) {
    let bound = withUnsafePointer(to: name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, socklen_t(MemoryLayout<Name>.size))
        }
    }
    if bound != 0 { throw SystemFault(operation: "bind \(text)", errno: errno) }
    if Glibc.listen(descriptor, 4096) != 0 { throw SystemFault(operation: "listen \(text)", errno: errno) }
}

/// A listener on a free port of 127.0.0.1. Accepted connections have its options.
func listenTCP() throws(SystemFault) -> Int32 {
    let descriptor = try opened(AF_INET)
    set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    set(descriptor, SOL_SOCKET, SO_SNDBUF, SocketBuffers.sendTCPBytes)
    set(descriptor, SOL_SOCKET, SO_RCVBUF, SocketBuffers.receiveTCPBytes)
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    try listen(descriptor, at: name, "127.0.0.1")
    return descriptor
}

/// A listener at a path, which is replaced.
func listenUnix(_ path: String) throws(SystemFault) -> Int32 {
    let descriptor = try opened(AF_UNIX)
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    if bytes.count >= MemoryLayout.size(ofValue: name.sun_path) {
        throw SystemFault(operation: path, errno: ENAMETOOLONG)
    }
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
    unlink(path)
    try listen(descriptor, at: name, path)
    return descriptor
}

/// The port that a listener got.
func port(of descriptor: Int32) throws(SystemFault) -> UInt16 {
    var name = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let outcome = withUnsafeMutablePointer(to: &name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    if outcome != 0 { throw SystemFault(operation: "getsockname", errno: errno) }
    return UInt16(bigEndian: name.sin_port)
}

/// A thread that accepts connections and starts a thread for each. Where there can be no more threads, the connection
/// is closed, which is said once.
func acceptForEver(_ listener: Int32, _ serve: @escaping @Sendable (Int32) -> Void) throws(SystemFault) {
    try startThread {
        var hasRefused = false
        while true {
            let connection = accept(listener, nil, nil)
            if connection < 0 {
                // No descriptor left: one may come back.
                if errno == EMFILE || errno == ENFILE { usleep(10_000) }
                continue
            }
            var family = sockaddr()
            var size = socklen_t(MemoryLayout<sockaddr>.size)
            getsockname(connection, &family, &size)
            if family.sa_family == sa_family_t(AF_UNIX) {
                set(connection, SOL_SOCKET, SO_SNDBUF, SocketBuffers.sendUnixBytes)
            }
            var timeout = timeval(tv_sec: writeTimeoutSeconds, tv_usec: 0)
            setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
            do throws(SystemFault) {
                try startThread { serve(connection) }
            } catch {
                close(connection)
                if !hasRefused { write("thread-per-subscriber: \(error)\n", to: STDERR_FILENO) }
                hasRefused = true
            }
        }
    }
}

/// Raises the soft limit of open files to the hard one.
func raiseDescriptorLimit() {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
