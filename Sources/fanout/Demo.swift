/// `fanout demo`: a server that has something to show, namely this host's own events.

import FanoutServer
import Glibc
import HostEvents

/// The demonstration: its flags, its greeting, its events.
package enum Demo {
    /// The flags and the help.
    package static let table = CommandTable<ServerOptions>(
        name: "demo",
        about:
            "starts a server and publishes real events about this host each second: CPU, memory, network, disks, and "
            + "processes that start and end. It prints where to watch them; stop it with Ctrl-C.",
        usage: "[flags]",
        flags: ServerOptions.listening + ServerOptions.behaviour,
        plainArgumentsMax: 0,
        examples: [
            ("fanout demo", "Then open http://127.0.0.1:7575/ in a browser."),
            ("fanout demo --listen 127.0.0.1:0", "On any free port; the page's address is printed."),
        ],
        exitCodes: [ExitCode.cannotCreate, ExitCode.inputOutput, ExitCode.configuration])

    static func run(_ arguments: [String], environment: Environment) throws(CommandFault) -> Int32 {
        guard let options = try ServerOptions.resolve(table, arguments, environment: environment) else {
            return Output.printHelp(table.helpText())
        }
        var configuration = try options.finished()
        configuration.writesReadyLine = false
        let source = options.source(table, arguments, environment: environment)
        let server = try Serve.start(configuration, source: source)
        let folder = server.addresses.runtimeDirectory
        let isFoundByDefault = folder == environment.value("FANOUT_RUNTIME_DIR") ?? RuntimeDirectory.standard()
        Output.print(
            greeting(
                backend: server.backendDescription, process: getpid(), address: server.addresses.http,
                runtimeDirectory: folder, isFoundByDefault: isFoundByDefault,
                dataDirectory: server.addresses.dataDirectory))
        try publishHostEvents(to: server.publisher)
        return server.run()
    }

    /// What a new user reads first. `emit` is told where the server is unless it looks there by itself.
    package static func greeting(
        backend: String, process: Int32, address: String, runtimeDirectory: String, isFoundByDefault: Bool,
        dataDirectory: String? = nil
    ) -> String {
        let data = dataDirectory.map { "\ndata       \($0)" } ?? ""
        let place = isFoundByDefault ? "" : "--runtime-dir \(runtimeDirectory) "
        return """
            fanout \(Server.version) · \(backend) · pid \(process)
            page       http://\(address)/
            subscribe  curl -N http://\(address)/v1/events        websocket ws://\(address)/v1/events\
                    nc -U \(runtimeDirectory)/events.socket
            publish    fanout emit \(place)'{"type":"hello"}'\(data)
            publishing this host's own events on host/cpu, host/memory, host/network, host/disk, host/process \
            — stop with Ctrl-C
            """
    }

    /// Starts the thread that reads /proc each second. It ends with the process.
    private static func publishHostEvents(to publisher: Publisher) throws(CommandFault) {
        let argument = Unmanaged.passRetained(ThreadArgument(publisher))
        var thread = pthread_t()
        let result = pthread_create(&thread, nil, runSampler, argument.toOpaque())
        guard result == 0 else {
            argument.release()
            throw CommandFault(
                "cannot start the thread that reads /proc: \(String(cString: strerror(result)))",
                exitCode: ExitCode.inputOutput)
        }
        pthread_detach(thread)
    }

    fileprivate static func sampleForever(_ publisher: Publisher) -> Never {
        var sampler = HostSampler()
        var wake = timespec()
        clock_gettime(CLOCK_MONOTONIC, &wake)
        while true {
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            for event in sampler.sample(now: UInt64(now.tv_sec) * 1_000 + UInt64(now.tv_nsec) / 1_000_000) {
                // False where the server is too busy or has ended: the next second brings newer events.
                _ = publisher.publish(channel: event.channel, event: event.json)
            }
            // An absolute time, so that what the sampling takes does not add up.
            wake.tv_sec += 1
            while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nil) == EINTR {}
        }
    }
}

/// What the thread is given: pthread_create takes one pointer.
private final class ThreadArgument: Sendable {
    let publisher: Publisher

    init(_ publisher: Publisher) {
        self.publisher = publisher
    }
}

private func runSampler(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    Demo.sampleForever(Unmanaged<ThreadArgument>.fromOpaque(argument).takeRetainedValue().publisher)
}
