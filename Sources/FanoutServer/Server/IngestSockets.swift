/// The ingest sockets of channels: one in the runtime directory for each that is declared, and the configured ones.

import Reactor
import Wire

extension Engine {
    /// Listening sockets that are open.
    var listenersOpen: Int { listeners.count(where: { $0.kind != .closed }) }

    /// Where sockets of a channel should be and are not: in the order in which they are to be opened. None in a
    /// simulation. O(configured sockets + listeners).
    /// - Parameter isDeclared: whether it has the one in the runtime directory, and those of families; else it has only
    ///   those that name it.
    func missingSockets(of name: ChannelName, isDeclared: Bool = true) -> [String] {
        let index = hub.channels.index(of: name)
        return wantedSockets(of: name, isDeclared, furtherIngest).filter { !hasSocket(index, at: $0) }
    }

    /// Where sockets of a channel should be.
    func wantedSockets(of name: ChannelName, _ isDeclared: Bool, _ templates: [IngestTemplate]) -> [String] {
        guard sockets != nil else { return [] }
        var wanted: [String] = []
        if isDeclared, let path = sockets?.place(RuntimeSockets.ingestPath(name)) { wanted.append(path) }
        for template in templates where isDeclared || !template.isFamily {
            if let text = template.path(of: name), let path = sockets?.furtherPlace(text) { wanted.append(path) }
        }
        return wanted
    }

    /// Whether a channel has a socket there.
    func hasSocket(_ channel: UInt32?, at path: String?) -> Bool {
        guard let channel, let path else { return false }
        let kind = Listener.Kind.ingest(channel: channel, fixed: true)
        return listeners.contains { $0.kind == kind && $0.address == .unix(path: path) }
    }

    /// Opens ingest sockets of a channel: all of them, or none.
    func openIngest(_ channel: UInt32, _ paths: [String], patience milliseconds: Int = 0) throws(StartError) {
        let kind = Listener.Kind.ingest(channel: channel, fixed: true)
        for (count, path) in paths.enumerated() {
            hub.extraWork &+= Self.socketWork
            do throws(StartError) {
                try openSocket(kind, at: path, patience: milliseconds)
            } catch {
                for path in paths.prefix(count) { closeIngest(at: path) }
                throw error
            }
        }
    }

    /// Opens a socket in the runtime directory. `patience` is for the start: see `listenPatiently`.
    func openSocket(
        _ kind: Listener.Kind, _ name: String, patience milliseconds: Int = 0
    ) throws(StartError) {
        guard let path = sockets?.place(name) else { return }
        try openSocket(kind, at: path, patience: milliseconds)
    }

    /// The same at a path of its own.
    func openSocket(_ kind: Listener.Kind, at path: String, patience milliseconds: Int) throws(StartError) {
        guard let address = try sockets?.prepare(path) else { return }
        do throws(SystemError) {
            try listenPatiently(kind, at: address, milliseconds: milliseconds)
        } catch {
            throw StartError(error.description, exitCode: .cannotCreate)
        }
        sockets?.noteMade(address)
    }

    /// Closes an ingest socket, and removes its file. Who has come in there stays.
    func closeIngest(_ place: Int) {
        hub.extraWork &+= Self.socketWork
        close(listeners[place].socket.slot, .graceful, .ended)
        sockets?.remove(listeners[place].address)
        listeners[place].kind = .closed
    }

    func closeIngest(at path: String) {
        let place = listeners.firstIndex { $0.kind.isOfOneChannel && $0.address == .unix(path: path) }
        if let place { closeIngest(place) }
    }
}
