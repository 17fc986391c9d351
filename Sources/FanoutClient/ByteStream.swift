/// A connected socket whose every wait has an end.

import Glibc

/// A nonblocking stream socket, driven by poll(2). Closed when it goes away.
struct ByteStream: ~Copyable {
    private var descriptor: Int32 = -1

    /// How a read ended.
    enum ReadOutcome: Equatable {
        case bytes(Int)
        case end
        case timedOut
        /// The reader of the watched descriptor has gone away.
        case watchedClosed
    }

    /// What a wait found.
    struct Ready: OptionSet {
        let rawValue: UInt8
        static let readable = Ready(rawValue: 1)
        static let writable = Ready(rawValue: 2)
        static let other = Ready(rawValue: 4)
    }

    /// True exactly when there is a connection.
    var isOpen: Bool { descriptor >= 0 }

    /// Connects, trying every address of a host name. Looking a name up is not bounded by the deadline; addresses and
    /// what stands in the hosts file take no time.
    mutating func connect(to endpoint: Endpoint, deadline: UInt64) throws(ClientError) {
        close()
        switch endpoint {
        case .unix(let path): try connect(path: path, deadline: deadline)
        case .http(let address): try connect(host: address.host, port: address.port, deadline: deadline)
        }
    }

    /// Reads what is there, waiting until `deadline` (nil: without end) for the first byte. `watched` is a descriptor,
    /// such as the pipe that standard output is, whose reader's going away ends the wait.
    mutating func read(
        into buffer: UnsafeMutableRawBufferPointer, deadline: UInt64?, watched: Int32? = nil
    ) throws(ClientError) -> ReadOutcome {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: break
            default: throw ClientError(.lost, "the connection broke: \(Self.text(errno))")
            }
            var waits = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
            // No events asked for: POLLERR is reported all the same, and means that a pipe has lost its reader.
            if let watched { waits.append(pollfd(fd: watched, events: 0, revents: 0)) }
            let ready = poll(&waits, nfds_t(waits.count), Clock.pollTimeout(until: deadline))
            if ready == 0 { return .timedOut }
            if waits.count > 1, waits[1].revents & Int16(POLLERR) != 0 { return .watchedClosed }
        }
    }

    /// Writes as much as the kernel takes now, from `start` on; 0 when it takes nothing.
    mutating func writeSome(_ bytes: [UInt8], from start: Int) throws(ClientError) -> Int {
        precondition(start <= bytes.count, "there is nothing after the end")
        while true {
            let count = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress.map { $0 + start }, bytes.count - start, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 { return count }
            switch errno {
            case EINTR: continue
            case EAGAIN: return 0
            default: throw ClientError(.lost, "the connection broke: \(Self.text(errno))")
            }
        }
    }

    /// Writes all the bytes or throws; `timedOut` when the other end does not take them before the deadline.
    mutating func write(_ bytes: [UInt8], deadline: UInt64) throws(ClientError) {
        var done = 0
        while done < bytes.count {
            done += try writeSome(bytes, from: done)
            if done < bytes.count, wait(writing: true, reading: false, other: nil, deadline: deadline).isEmpty {
                throw ClientError(.timedOut, "the server does not read")
            }
        }
    }

    /// Waits until the socket or `other` is ready; empty when the deadline has passed. Errors count as ready: the next
    /// call on the socket reports them.
    func wait(writing: Bool, reading: Bool, other: Int32?, deadline: UInt64?) -> Ready {
        let events = (reading ? Int16(POLLIN) : 0) | (writing ? Int16(POLLOUT) : 0)
        var waits = [pollfd(fd: descriptor, events: events, revents: 0)]
        if let other { waits.append(pollfd(fd: other, events: Int16(POLLIN), revents: 0)) }
        while true {
            let count = poll(&waits, nfds_t(waits.count), Clock.pollTimeout(until: deadline))
            if count < 0 { continue }
            var ready = Ready()
            if waits[0].revents & ~Int16(POLLOUT) != 0 { ready.insert(.readable) }
            if waits[0].revents & Int16(POLLOUT) != 0 { ready.insert(.writable) }
            if waits.count > 1, waits[1].revents != 0 { ready.insert(.other) }
            return ready
        }
    }

    /// Says that nothing more will be written; what comes back can still be read.
    mutating func finishWriting() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Closes the connection, if there is one.
    mutating func close() {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        descriptor = -1
    }

    deinit {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
    }

    static func text(_ number: Int32) -> String { String(cString: strerror(number)) }
}

// MARK: - Connecting

extension ByteStream {
    private mutating func connect(path: String, deadline: UInt64) throws(ClientError) {
        var address = sockaddr_un()
        let pathBytesMax = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard !path.isEmpty, path.utf8.count <= pathBytesMax, !path.utf8.contains(0) else {
            throw ClientError(
                .invalidInput, "'\(path)' cannot be a socket's path: it has to have 1 to \(pathBytesMax) bytes")
        }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        try open(AF_UNIX)
        while true {
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            if result == 0 { return }
            let number = errno
            // A unix socket whose queue of connections is full cannot be polled for: ask again a little later.
            if number == EINTR || (number == EAGAIN && Clock.now < deadline) {
                if number == EAGAIN { usleep(5_000) }
                continue
            }
            close()
            throw Self.unreachable(path, number)
        }
    }

    private mutating func connect(host: String, port: UInt16, deadline: UInt64) throws(ClientError) {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, String(port), &hints, &list)
        guard result == 0 else {
            throw ClientError(.unreachable, "\(host): \(String(cString: gai_strerror(result)))")
        }
        defer { freeaddrinfo(list) }
        var fault = ClientError(.unreachable, "\(host) has no address")
        var next = list
        while let entry = next {
            do throws(ClientError) {
                try open(entry.pointee.ai_family)
                try connect(entry.pointee, name: "\(host):\(port)", deadline: deadline)
                return
            } catch {
                close()
                fault = error
            }
            next = entry.pointee.ai_next
        }
        throw fault
    }

    private mutating func connect(_ entry: addrinfo, name: String, deadline: UInt64) throws(ClientError) {
        if Glibc.connect(descriptor, entry.ai_addr, entry.ai_addrlen) == 0 { return }
        guard errno == EINPROGRESS || errno == EINTR else { throw Self.unreachable(name, errno) }
        guard !wait(writing: true, reading: false, other: nil, deadline: deadline).isEmpty else {
            throw ClientError(.timedOut, "\(name) does not answer")
        }
        var number: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size)
        if number != 0 { throw Self.unreachable(name, number) }
    }

    private mutating func open(_ family: Int32) throws(ClientError) {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        descriptor = socket(family, type, 0)
        guard descriptor >= 0 else { throw ClientError(.unreachable, "cannot make a socket: \(Self.text(errno))") }
    }

    private static func unreachable(_ name: String, _ number: Int32) -> ClientError {
        let advice =
            switch number {
            case ENOENT, ECONNREFUSED: "start a server with 'fanout serve', or name another with --runtime-dir or --url"
            case EACCES, EPERM: "the server belongs to another user"
            case ENOTSOCK, EPROTOTYPE: "that is not the socket of a server"
            case EAGAIN: "the server does not accept connections"
            default: "is the server there?"
            }
        return ClientError(.unreachable, "cannot connect to \(name): \(text(number)) (\(advice))")
    }
}
