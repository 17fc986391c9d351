/// The sockets that connections come in on.

import Glibc
import Reactor
import Wire

/// One listening socket and what is spoken there.
struct Listener {
    enum Kind: Equatable {
        /// HTTP over TCP: Host and Origin are checked.
        case http
        /// HTTP over `http.socket`: who may open the file may use it.
        case httpUnix
        /// `events.socket`: JSONL without keep-alives.
        case events
        /// Raw JSONL over TCP.
        case jsonl
        /// Lines for one channel; `fixed` tells whether an envelope may name another.
        case ingest(channel: UInt32, fixed: Bool)
        /// Its channel has ended; nothing comes in any more.
        case closed

        /// Whether lines are for one channel only.
        var isOfOneChannel: Bool {
            if case .ingest(_, fixed: true) = self { true } else { false }
        }

        /// What limits may be said of its subscribers.
        var name: ListenerName {
            switch self {
            case .http: .http
            case .httpUnix: .httpSocket
            case .events: .events
            case .jsonl: .jsonl
            case .ingest, .closed: .other
            }
        }
    }

    var kind: Kind
    var socket: SocketID
    /// The address as bound: a port 0 has become a number.
    var address: SocketAddress
}

extension Engine {
    /// Opens a listener and starts to accept.
    func listen(_ kind: Listener.Kind, at address: SocketAddress) throws(SystemError) {
        var options = ListenOptions()
        options.sendBufferBytes = address.port == nil ? Self.sendBufferUnixBytes : Self.sendBufferTCPBytes
        if address.port != nil { options.receiveBufferBytes = Self.receiveBufferTCPBytes }
        options.keepAliveSeconds = configuration.heartbeatSeconds
        options.userTimeoutMilliseconds = userTimeoutMilliseconds(at: kind.name)
        let socket = try loop.listen(address, options)
        delivery.connections.open(socket, phase: .listener, transport: .listener)
        let listener = Listener(kind: kind, socket: socket, address: loop.localAddress(of: socket))
        // The place of a listener that is gone is used again: channels may come and go.
        let place = listeners.firstIndex { $0.kind == .closed && !loop.isOpen($0.socket) } ?? listeners.count
        if place == listeners.count { listeners.append(listener) } else { listeners[place] = listener }
        delivery.connections[socket.slot].group = UInt32(place)
        if kind == .http { httpPort = loop.localAddress(of: socket).port ?? 0 }
        loop.accept(socket)
    }

    /// The same at the start of a server, where an address in use is tried again for a while: the kernel takes a ring
    /// apart after its process has been killed, and its listeners live until then.
    func listenPatiently(
        _ kind: Listener.Kind, at address: SocketAddress, milliseconds: Int
    ) throws(SystemError) {
        let pause = 20
        for _ in 0..<(milliseconds / pause) {
            do throws(SystemError) {
                return try listen(kind, at: address)
            } catch {
                guard error.errno == EADDRINUSE else { throw error }
                usleep(useconds_t(pause * 1000))
            }
        }
        try listen(kind, at: address)
    }

    /// Kernel memory that one reader's unsent bytes may take. Less than loopback's segment size stalls large sends on
    /// TCP.
    static let sendBufferTCPBytes = 256 * 1024
    static let sendBufferUnixBytes = 64 * 1024
    /// Kernel memory that one connection's unread bytes may take on TCP. On unix sockets the peer's send buffer bounds
    /// them.
    static let receiveBufferTCPBytes = 256 * 1024

    /// A connection came in, or accepting stopped.
    func accepted(_ slot: UInt32, _ completion: Completion) {
        let listener = listeners[Int(delivery.connections[slot].group)]
        guard completion.result >= 0 else {
            acceptRefused(slot, errno: -completion.result)
            return
        }
        noteAccepted()
        metrics.accepted &+= 1
        let socket = completion.accepted
        let peer = admitPeer(socket, at: listener)
        let isFull = delivery.connections.total >= connectionsMax - Limits.reservedConnections
        switch listener.kind {
        case .http, .httpUnix:
            delivery.connections.open(socket, phase: .request, transport: .http, from: listener.kind.name)
            if listener.kind == .http { delivery.connections[socket.slot].flags.insert(.tcp) }
            if isFull { delivery.connections[socket.slot].flags.insert(.inReservedPlace) }
            setDeadline(socket.slot, in: Limits.headMilliseconds)
            loop.receive(socket)
            if delivery.connections.total > connectionsMax { close(socket.slot, .reset, .overload) }
        case .events, .jsonl:
            delivery.connections.open(
                socket, phase: .subscriber, transport: listener.kind == .events ? .jsonlUnix : .jsonlTCP,
                from: listener.kind.name)
            loop.receive(socket)
            if delivery.connections.total > connectionsMax {
                close(socket.slot, .reset, .overload)
            } else if isFull {
                delivery.connections[socket.slot].flags.insert(.inReservedPlace)
                bye(socket.slot, .overload)
            } else if peer == .within, !hasMemory(for: Subscription(), at: listener.kind.name) {
                bye(socket.slot, .overload)
            } else if peer == .within {
                startStream(socket.slot, Subscription(), opening(Subscription()))
            }
        case .ingest(let channel, let fixed):
            delivery.connections.open(socket, phase: .ingest, transport: .ingest)
            delivery.connections[socket.slot].group = channel
            if fixed { delivery.connections[socket.slot].flags.insert(.channelFixed) }
            loop.receive(socket)
            if isFull { close(socket.slot, .reset, .overload) }
        case .closed:
            delivery.connections.open(socket, phase: .ingest, transport: .ingest)
            close(socket.slot, .reset, .ended)
        }
        refusePeer(socket.slot, peer)
    }
}
