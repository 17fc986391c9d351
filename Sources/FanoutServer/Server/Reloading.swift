/// SIGHUP: the configuration is read again, and all of it holds or none.

import Reactor
import Wire

/// Where a running server reads its configuration again.
public struct ConfigurationSource {
    /// What is wrong with what was read.
    public struct Refusal: Error, Sendable {
        /// A line for each fault, with its place; one at least.
        public var faults: [String]

        /// The faults; an empty list is one without words.
        public init(faults: [String]) { self.faults = faults.isEmpty ? ["it is faulty"] : faults }
    }

    /// How it is called in the log: the file's name.
    public var name: String
    /// Reads it whole, as it was read at the start. Called on the loop's thread, which waits for it: it must be quick,
    /// as reading and compiling a file of a megabyte from a local disk is.
    public var read: () throws(Refusal) -> Configuration

    /// A source.
    public init(name: String, read: @escaping () throws(Refusal) -> Configuration) {
        self.name = name
        self.read = read
    }
}

extension Configuration {
    /// The keys and flags that two configurations differ in and that only a restart can change.
    func fixedDifferences(from other: Configuration) -> [String] {
        let same: [(name: String, isSame: Bool)] = [
            ("listen", listen == other.listen), ("jsonl", jsonl == other.jsonl),
            ("runtime_dir", runtimeDirectory == other.runtimeDirectory), ("io", io == other.io),
            ("heartbeat_s", heartbeatSeconds == other.heartbeatSeconds),
            ("max_connections", connectionsMax == other.connectionsMax), ("max_memory", memoryMax == other.memoryMax),
            ("history", historyBytes == other.historyBytes), ("data", dataDirectory == other.dataDirectory),
            ("data_optional", dataIsOptional == other.dataIsOptional), ("new_log", beginsNewLog == other.beginsNewLog),
            ("--channel", channels == other.channels), ("--stdin", standardInput == other.standardInput),
            ("--exit-on-eof", exitOnEndOfInput == other.exitOnEndOfInput), ("--insecure", insecure == other.insecure),
        ]
        return same.filter { !$0.isSame }.map(\.name)
    }
}

extension Engine {
    /// Reads the configuration again and takes it, or says why not.
    func reload() {
        guard ending == nil else { return }
        guard let source else {
            return log.warning("SIGHUP changes nothing: no --config file was given to be read again")
        }
        do throws(ConfigurationSource.Refusal) {
            try take(try source.read())
            metrics.reloads.taken &+= 1
            log.info("reloaded \(source.name)")
        } catch {
            metrics.reloads.refused &+= 1
            let others = error.faults.count - 1
            log.error(
                "not reloaded: \(error.faults[0])"
                    + (others > 0 ? " (and \(others) more: fanout check --config \(source.name) names them)" : ""))
        }
    }

    /// Takes another configuration: all of it, or nothing of it. Connections are not touched.
    func take(_ new: Configuration) throws(ConfigurationSource.Refusal) {
        let differences = new.fixedDifferences(from: configuration)
        guard differences.isEmpty else {
            let names = differences.map { $0.hasPrefix("-") ? $0 : "'\($0)'" }.joined(separator: ", ")
            throw ConfigurationSource.Refusal(faults: [
                "only a restart can change \(names): restart the server, or put back what was there"
            ])
        }
        do throws(StartError) {
            // What can fail comes first, and the sockets last of it.
            let rules = try RuleBook(new)
            try rules.checkLimits(new)
            try rules.checkStorage(new, records: storage != nil)
            let routes = try RouteTable(new)
            let ingest = try IngestTemplate.all(of: new)
            var peers = peers
            try peers.setLimits(new)
            try changeSockets(to: ingest)
            self.routes = routes
            self.peers = peers
            admission = Admission(new)
            log.level = new.logLevel
            hub.replaceRules(rules, new, from: configuration)
            configuration = new
        } catch {
            throw ConfigurationSource.Refusal(faults: [error.message])
        }
        tellRetention()
        for listener in listeners where listener.kind.name.isTCP {
            loop.setUserTimeout(listener.socket, milliseconds: userTimeoutMilliseconds(at: listener.kind.name))
        }
    }

    /// Opens the further ingest sockets that are new and closes those that are none any more: all, or nothing is
    /// changed. One whose channel is another now stays open for that one.
    private func changeSockets(to templates: [IngestTemplate]) throws(StartError) {
        guard sockets != nil else { return furtherIngest = templates }
        var wanted: [(channel: UInt32, path: String)] = []
        var seen: Set<String> = []
        /// Adds what a channel should have beside its socket in the runtime directory.
        func want(_ channel: UInt32, _ isDeclared: Bool) {
            let name = hub.channels[channel].name
            guard !hub.channels[channel].hasEnded else { return }
            let standard = sockets?.place(RuntimeSockets.ingestPath(name))
            for path in wantedSockets(of: name, isDeclared, templates)
            where path != standard && seen.insert(path).inserted { wanted.append((channel, path)) }
        }
        for name in templates.compactMap(\.name) {
            guard let channel = hub.channel(name) else {
                throw StartError("no memory is left for the channel \(name) of \"ingest\"", exitCode: .configuration)
            }
            want(channel, false)
        }
        var standing: [Int: (channel: UInt32, path: String)] = [:]
        for (place, listener) in listeners.enumerated() {
            guard case .ingest(let channel, fixed: true) = listener.kind, case .unix(let path) = listener.address else {
                continue
            }
            if path == sockets?.place(RuntimeSockets.ingestPath(hub.channels[channel].name)) {
                want(channel, true)
            } else {
                standing[place] = (channel, path)
            }
        }
        let missing = wanted.filter { new in !standing.values.contains { $0.path == new.path } }
        guard listenersOpen + missing.count <= Self.listenersMax else {
            throw StartError("there may be \(Self.listenersMax) listening sockets at most", exitCode: .configuration)
        }
        for (count, socket) in missing.enumerated() {
            do throws(StartError) {
                try openIngest(socket.channel, [socket.path])
            } catch {
                for socket in missing.prefix(count) { closeIngest(at: socket.path) }
                throw error
            }
        }
        for (place, socket) in standing {
            if let new = wanted.first(where: { $0.path == socket.path }) {
                listeners[place].kind = .ingest(channel: new.channel, fixed: true)
            } else {
                closeIngest(place)
            }
        }
        furtherIngest = templates
    }
}
