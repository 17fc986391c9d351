/// How many connections one address or one user may have, and what those beyond are told.

import Reactor
import Wire

/// The limits, and what they are held against.
struct PeerLimits {
    /// What one address may have where nothing is configured: enough for an office behind one, too little to fill a
    /// server.
    static let perAddressStandard = 1024
    /// Connections beyond its limit in which a peer is told so, and reaches health and metrics. Who comes beyond these
    /// is reset: else one peer could take every place by asking again and again.
    static let placesBeyond = 64

    /// Why a connection has no place.
    enum Want: UInt8, CaseIterable {
        case address, user

        /// The label in `/metrics`.
        var label: StaticString { self == .address ? "address" : "user" }
    }

    /// Where a connection stands.
    enum Verdict: Equatable {
        case within
        /// Its peer has more than it may: it is told so.
        case beyond(Want)
        /// And has been told often enough.
        case farBeyond(Want)
    }

    private(set) var counts = PeerCounts()
    /// Turned away, by why.
    private(set) var refusals: InlineArray<2, UInt64> = InlineArray(repeating: 0)
    private var perAddress: Int?
    private var perUser: Int?

    init(_ configuration: Configuration) throws(StartError) {
        try setLimits(configuration)
    }

    /// Takes other limits. What is counted stays; where nothing was, it begins with the next connection.
    mutating func setLimits(_ configuration: Configuration) throws(StartError) {
        try Self.check(configuration)
        perAddress = configuration.connectionsPerAddressMax
        perUser = configuration.connectionsPerUserMax
    }

    private static func check(_ configuration: Configuration) throws(StartError) {
        let perAddress = configuration.connectionsPerAddressMax
        let perUser = configuration.connectionsPerUserMax
        guard (perAddress ?? 1) > 0, (perUser ?? 1) > 0 else {
            throw StartError("an address or a user may have one connection at least", exitCode: .configuration)
        }
    }

    /// Whether connections of a listener at `address` are counted. Where they are not, nobody is asked who they are.
    func apply(at address: SocketAddress) -> Bool {
        address.isUnix ? perUser != nil : perAddress != nil || !address.isLoopback
    }

    /// How many connections a peer may have; nil is any number. Every program of this machine shares its loopback
    /// addresses, so that these are limited only where somebody said so.
    func most(_ key: PeerKey) -> Int? {
        if case .user = key { return perUser }
        return perAddress ?? (key.isLoopback ? nil : Self.perAddressStandard)
    }

    /// Counts a new connection.
    mutating func admit(_ slot: UInt32, _ key: PeerKey) -> Verdict {
        guard let most = most(key) else { return .within }
        let count = counts.add(slot, of: key)
        if count <= most { return .within }
        return count - most > Self.placesBeyond ? .farBeyond(Self.want(key)) : .beyond(Self.want(key))
    }

    /// What a connection wants a place for; nil once its peer has no more than it may.
    func want(_ slot: UInt32) -> Want? {
        guard let (key, count) = counts.standing(slot), let most = most(key), count > most else { return nil }
        return Self.want(key)
    }

    /// The connection is over.
    mutating func forget(_ slot: UInt32) { counts.remove(slot) }

    /// Somebody was turned away.
    mutating func noteRefusal(_ want: Want) { refusals[Int(want.rawValue)] &+= 1 }

    private static func want(_ key: PeerKey) -> Want {
        if case .user = key { .user } else { .address }
    }
}

extension Engine {
    /// Counts a connection that has come in and says whether its peer may have it.
    func admitPeer(_ socket: SocketID, at listener: Listener) -> PeerLimits.Verdict {
        guard peers.apply(at: listener.address), let identity = loop.peer(of: socket) else { return .within }
        let key = PeerKey(identity)
        let verdict = peers.admit(socket.slot, key)
        guard case .beyond(let want) = verdict, let (_, count) = peers.counts.standing(socket.slot) else {
            return verdict
        }
        if peers.most(key) == count - 1 {
            log.warning(
                "\(key) has \(count - 1) connections open, and no \(want.label) may have more: others are turned away "
                    + "(--max-per-\(want.label))")
        }
        return verdict
    }

    /// Turns a connection away that has only just come in, and is open already. HTTP is answered when it has asked.
    func refusePeer(_ slot: UInt32, _ verdict: PeerLimits.Verdict) {
        switch verdict {
        case .within: return
        case .beyond(let want):
            delivery.connections[slot].flags.insert(.inReservedPlace)
            switch delivery.connections[slot].phase {
            case .subscriber:
                peers.noteRefusal(want)
                bye(slot, .overload, why: HTTPFault.tooManyConnections(want).code)
            case .ingest:
                peers.noteRefusal(want)
                close(slot, .reset, .overload)
            case .free, .listener, .request, .draining, .closing: return
            }
        case .farBeyond(let want):
            guard delivery.connections[slot].phase != .closing else { return }
            peers.noteRefusal(want)
            close(slot, .reset, .overload)
        }
    }
}

extension HTTPFault {
    /// 429: the peer has as many connections as it may.
    static func tooManyConnections(_ want: PeerLimits.Want) -> HTTPFault {
        HTTPFault(
            status: 429, code: "too_many_connections",
            message: want == .address
                ? "this address has as many connections as it may: close some, or come back later"
                : "this user has as many connections as it may: close some, or come back later")
    }
}
