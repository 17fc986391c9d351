/// A server in a process: opens what the configuration names, runs the engine, leaves nothing behind.

import EventStore
import Glibc
import Reactor
import Wire

/// The fan-out server, as `fanout serve` runs it and as a program embeds it.
///
/// Make it and run it on the same thread: io_uring belongs to the thread that made it. Everything else that a program
/// needs while it runs is `publisher`, which any thread may use.
public final class Server {
    /// The version of this software.
    public static let version = "0.1.0"

    /// Where a server can be reached: the ports as bound, the paths as made.
    public struct Addresses: Sendable {
        /// `ADDRESS:PORT` of the HTTP listener.
        public var http: String
        /// `ADDRESS:PORT` of the raw JSONL listener, if there is one.
        public var jsonl: String?
        /// The folder of sockets.
        public var runtimeDirectory: String
        /// The folder of the database, if there is one that could be opened.
        public var dataDirectory: String?
        /// Path of `events.socket`.
        public var events: String { runtimeDirectory + "/events.socket" }
        /// Path of `http.socket`.
        public var httpSocket: String { runtimeDirectory + "/http.socket" }
        /// Path of `ingest.socket`.
        public var ingest: String { runtimeDirectory + "/ingest.socket" }
    }

    /// Publishes from any thread.
    public let publisher: Publisher
    /// Where the server listens.
    public let addresses: Addresses
    /// The I/O interface in use and the reason for it.
    public var backendDescription: String { engine.loop.backendDescription }

    /// Tests look into it.
    let engine: Engine
    /// The database, if there is one.
    private let storage: OpenedStorage?

    /// Opens the event loop, the database and every socket. Connections are accepted once `run` is called. A server
    /// that is given up without that closes its database as it was found.
    ///
    /// Throws a `StartError` whose message is one line and whose exit code follows sysexits. Of the whole process it
    /// raises the soft limit of descriptors to the hard one, ignores SIGPIPE, and lets the allocator keep 2 MiB of what
    /// was freed, and blocks of up to 2 MiB in its heap (mallopt(3)).
    /// - Parameter source: where the configuration is read again on SIGHUP; nil is nowhere: then SIGHUP does nothing.
    public init(_ configuration: Configuration, source: ConfigurationSource? = nil) throws(StartError) {
        guard configuration.memoryMax.map(ValueSyntax.memoryRange.contains) ?? true else {
            throw StartError("the memory budget is \(ValueSyntax.memoryAdvice)", exitCode: .configuration)
        }
        guard configuration.historyBytes.map(ValueSyntax.isHistorySize) ?? true else {
            throw StartError("what is held of the past is \(ValueSyntax.historyAdvice)", exitCode: .configuration)
        }
        let http = try Self.address(configuration.listen, flag: "--listen", configuration)
        let jsonl = try configuration.jsonl.map { text throws(StartError) in
            try Self.address(text, flag: "--jsonl", configuration)
        }
        signal(SIGPIPE, SIG_IGN)
        let loop = try Self.makeLoop(configuration)
        do throws(SystemError) {
            // Before the first socket is made: a signal that comes from here on finds somebody who takes them away.
            let watchesHangUp = source != nil || !Self.isHangUpIgnored
            try loop.watchSignals(watchesHangUp ? [SIGTERM, SIGINT, SIGHUP] : [SIGTERM, SIGINT])
            // A signal that is ignored never reaches whoever watches for it.
            if watchesHangUp { signal(SIGHUP, SIG_DFL) }
        } catch {
            throw StartError(error.description, exitCode: .io)
        }
        ProcessMemory.keepFreed(byteCount: MemoryBudget.freedKeptBytes)
        let inbox = Inbox()
        var seed: UInt64 = 0
        var epoch: UInt64 = 0
        for word in [0, 1] {
            let value = UInt64.random(in: 1...UInt64.max)
            if word == 0 { seed = value } else { epoch = value }
        }
        let standardError = StandardError()
        let log = Log(level: configuration.logLevel, seconds: { loop.now / 1000 }, write: { standardError.write($0) })
        // Before anything shows that a server is here.
        let opened = try OpenedStorage.open(
            configuration, epoch: Epoch(rawValue: epoch), wakeup: loop.wakeup, log: log)
        storage = opened
        let directory = configuration.runtimeDirectory ?? RuntimeDirectory.standard()
        let sockets = try RuntimeSockets(directory)
        let engine = try Engine(
            configuration, loop: loop, epoch: Epoch(rawValue: epoch), seed: seed, log: log, inbox: inbox,
            storage: opened?.start)
        do throws(SystemError) {
            try engine.listenPatiently(.http, at: http, milliseconds: Self.portPatienceMilliseconds)
            if let jsonl {
                try engine.listenPatiently(.jsonl, at: jsonl, milliseconds: Self.portPatienceMilliseconds)
            }
        } catch {
            throw StartError(error.description, exitCode: .cannotCreate)
        }
        engine.sockets = consume sockets
        engine.source = source
        try Self.openSockets(engine, configuration)
        do throws(SystemError) {
            if configuration.standardInput != .ignored {
                try engine.readStandardInput(STDIN_FILENO, asText: configuration.standardInput == .text)
            }
        } catch {
            throw StartError(error.description, exitCode: .io)
        }
        inbox.attach(loop.wakeup)
        publisher = Publisher(inbox: inbox)
        addresses = Addresses(
            http: engine.listeners[0].address.description,
            jsonl: jsonl == nil ? nil : engine.listeners[1].address.description, runtimeDirectory: directory,
            dataDirectory: opened?.start.directory)
        self.engine = engine
    }

    /// The line that says the server is ready: every address, and the I/O interface with the reason for it.
    public var readyLine: String {
        var line = "fanout \(Self.version) ready · http \(addresses.http)"
        if let jsonl = addresses.jsonl { line += " · jsonl \(jsonl)" }
        line += " · events \(addresses.events) · http \(addresses.httpSocket) · ingest \(addresses.ingest)"
        for case .unix(let path) in engine.listeners.filter({ $0.kind.isOfOneChannel }).map(\.address) {
            line += " · ingest \(path)"
        }
        if let folder = addresses.dataDirectory { line += " · data \(folder)" }
        return line + " · \(backendDescription) · pid \(getpid())"
    }

    /// Whether the process was started to outlive its terminal, as nohup(1) starts one.
    private static var isHangUpIgnored: Bool {
        var action = sigaction()
        guard sigaction(SIGHUP, nil, &action) == 0 else { return false }
        let handler = action.__sigaction_handler.sa_handler
        return unsafeBitCast(handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    /// Serves until SIGTERM, SIGINT or the end of the input it was to end with. Returns the status to exit with.
    public func run() -> Int32 {
        if engine.configuration.writesReadyLine {
            StandardError().write(readyLine, patience: Self.readyPatienceMilliseconds)
        }
        while engine.turn(wait: true) {}
        storage?.end(hasEnded: engine.storage?.hasEnded ?? true, state: engine.storage?.state)
        return engine.ending?.exitCode ?? 0
    }

    // MARK: Opening

    /// How long the ready line waits for whoever reads it, before the server serves without having said so.
    private static let readyPatienceMilliseconds: Int32 = 1000
    /// How long an address in use is tried again. The folder's lock says that no server lives there any more, so its
    /// sockets are waited for longer; a port may well be somebody else's, and who mistyped it should not wait.
    private static let socketPatienceMilliseconds = 2000
    private static let portPatienceMilliseconds = 300

    private static func address(
        _ text: String, flag: String, _ configuration: Configuration
    ) throws(StartError) -> SocketAddress {
        guard let address = SocketAddress(parsing: text), address.port != nil else {
            throw StartError(
                "\(flag) \(text) is not an address: write 127.0.0.1:7575 or [::1]:7575", exitCode: .configuration)
        }
        guard address.isLoopback || configuration.insecure else {
            throw StartError(
                "\(flag) \(text) would let the network read and publish, and nothing checks who comes in: bind a "
                    + "loopback address behind a proxy, or say --insecure if that is meant",
                exitCode: .configuration)
        }
        return address
    }

    private static func makeLoop(_ configuration: Configuration) throws(StartError) -> EventLoop {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        var loopConfiguration = LoopConfiguration()
        // 64 descriptors are left for listeners, the loop itself and what an embedding program has open.
        let descriptors = Int(clamping: min(limit.rlim_cur, 1 << 20)) - 64
        loopConfiguration.socketsMax = max(64, descriptors)
        loopConfiguration.backend =
            switch configuration.io {
            case .auto: .automatic
            case .uring: .uring
            case .epoll: .epoll
            }
        do throws(SystemError) {
            return try EventLoop(loopConfiguration)
        } catch {
            throw StartError(error.description, exitCode: .io)
        }
    }

    private static func openSockets(_ engine: Engine, _ configuration: Configuration) throws(StartError) {
        try engine.openSocket(.events, "events.socket", patience: socketPatienceMilliseconds)
        try engine.openSocket(.httpUnix, "http.socket", patience: socketPatienceMilliseconds)
        guard let standard = engine.hub.channel(.standard) else { preconditionFailure("the first channel always fits") }
        try engine.openSocket(
            .ingest(channel: standard, fixed: false), "ingest.socket", patience: socketPatienceMilliseconds)
        for text in configuration.channels {
            guard let name = ChannelName(text), let channel = engine.hub.channel(name) else {
                throw StartError("--channel \(text): not a channel's name", exitCode: .configuration)
            }
            try engine.openIngest(channel, engine.missingSockets(of: name), patience: socketPatienceMilliseconds)
        }
        for template in engine.furtherIngest {
            guard let name = template.name else { continue }
            guard let channel = engine.hub.channel(name) else {
                throw StartError("no memory is left for the channel \(name) of \"ingest\"", exitCode: .configuration)
            }
            let missing = engine.missingSockets(of: name, isDeclared: false)
            try engine.openIngest(channel, missing, patience: socketPatienceMilliseconds)
        }
    }
}
