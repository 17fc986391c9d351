// A server and its data folder in one process: opened, closed, opened again, given up.
import Foundation
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Data folder")
struct DataFolderTests {
    /// Folders for one test, which are gone when it ends.
    private final class Folders {
        let path = FileManager.default.temporaryDirectory.appending(path: "fanout-\(UUID().uuidString.prefix(8))").path

        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func configuration(runtime: String = "run") -> Configuration {
            var configuration = Configuration()
            configuration.listen = "127.0.0.1:0"
            configuration.runtimeDirectory = "\(path)/\(runtime)"
            configuration.dataDirectory = "\(path)/data"
            configuration.writesReadyLine = false
            configuration.logLevel = .error
            return configuration
        }

        func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(path)/\(name)") }
    }

    private func publish(_ count: Int, to server: Server, on channel: String = "a") {
        for number in 0..<count {
            #expect(server.publisher.publish(channel: channel, event: Array(#"{"n":\#(number)}"#.utf8)))
        }
        let head = server.engine.hub.head + UInt64(count)
        while server.engine.hub.head < head { _ = server.engine.turn(wait: false) }
    }

    private func stop(_ server: Server) {
        server.engine.end(.inputEnded)
        #expect(server.run() == 0)
    }

    private func error(_ configuration: Configuration) -> StartError? {
        do throws(StartError) {
            _ = try Server(configuration)
            return nil
        } catch {
            return error
        }
    }

    @Test("after a run the same process opens the folder again, and everything goes on where it was")
    func again() throws {
        let folders = try Folders()
        let first = try Server(folders.configuration())
        #expect(first.addresses.dataDirectory == "\(folders.path)/data")
        #expect(first.readyLine.contains(" · data \(folders.path)/data · "))
        publish(300, to: first)
        stop(first)
        // While the first one is still there: it has let go of the folder.
        let second = try Server(folders.configuration(runtime: "other"))
        #expect(second.engine.hub.epoch == first.engine.hub.epoch)
        #expect(second.engine.hub.head == 300)
        let name = try #require(ChannelName("a"))
        let found = second.engine.hub.channels.index(of: name)
        let channel = try #require(found)
        let count = second.engine.hub.channels[channel].eventCount
        #expect(count == 300)
        publish(1, to: second)
        #expect(second.engine.hub.head == 301)
        stop(second)
    }

    @Test("a server that is given up without a run leaves the folder as it found it")
    func givenUp() throws {
        let folders = try Folders()
        var server: Server? = try Server(folders.configuration())
        let epoch = server?.engine.hub.epoch
        server = nil
        server = try Server(folders.configuration())
        #expect(server?.engine.hub.epoch == epoch)
        let found = try #require(server)
        publish(3, to: found)
        stop(found)
        server = try Server(folders.configuration(runtime: "other"))
        #expect(server?.engine.hub.epoch == epoch && server?.engine.hub.head == 3)
    }

    @Test("a start that fails after the folder was opened costs no epoch")
    func failedStart() throws {
        let folders = try Folders()
        let first = try Server(folders.configuration())
        let epoch = first.engine.hub.epoch
        stop(first)
        let other = try Server(
            {
                var configuration = folders.configuration(runtime: "other")
                configuration.dataDirectory = nil
                return configuration
            }())
        var busy = folders.configuration(runtime: "third")
        busy.listen = other.addresses.http
        #expect(error(busy)?.exitCode == .cannotCreate)
        #expect(error(folders.configuration(runtime: "other"))?.exitCode == .cannotCreate)
        let second = try Server(folders.configuration(runtime: "third"))
        #expect(second.engine.hub.epoch == epoch)
        stop(second)
        stop(other)
    }

    @Test("a folder that is in use is refused before a socket or the runtime directory is there")
    func locked() throws {
        let folders = try Folders()
        let first = try Server(folders.configuration())
        let fault = try #require(error(folders.configuration(runtime: "other")))
        #expect(fault.exitCode == .cannotCreate)
        #expect(fault.message.contains("\(folders.path)/data/events.db") && !fault.message.contains("\n"))
        #expect(!folders.has("other"))
        var optional = folders.configuration(runtime: "other")
        optional.dataIsOptional = true
        let second = try Server(optional)
        #expect(second.addresses.dataDirectory == nil && !second.readyLine.contains("data"))
        publish(2, to: second)
        stop(second)
        publish(1, to: first)
        stop(first)
    }

    @Test("a relative folder is where the process was when the server was made")
    func relative() throws {
        let folders = try Folders()
        var configuration = folders.configuration()
        let present = FileManager.default.currentDirectoryPath
        let up = String(repeating: "../", count: present.split(separator: "/").count)
        configuration.dataDirectory = "\(up)\(folders.path.dropFirst())/data"
        let server = try Server(configuration)
        #expect(server.addresses.dataDirectory == "\(present)/\(configuration.dataDirectory!)")
        #expect(folders.has("data/events.db"))
        stop(server)
    }

    @Test("each channel keeps what the most specific pattern says, also one that the next server finds")
    func retention() throws {
        let folders = try Folders()
        var configuration = folders.configuration()
        var kept = Configuration.ChannelRules()
        kept.retention = Configuration.Retention()
        kept.retention?.count = 10
        var all = Configuration.ChannelRules()
        all.retention = Configuration.Retention()
        configuration.channelRules = [("a/*", kept), ("a/all", all)]
        let first = try Server(configuration)
        publish(50, to: first, on: "a/all")
        publish(50, to: first, on: "a/some")
        publish(50, to: first, on: "b")
        wait(for: 90, on: "a/some", in: first)
        #expect(pruned("a/all", in: first) == 0 && pruned("b", in: first) == 0)
        stop(first)
        configuration.channelRules[0].rules.retention?.count = 4
        configuration.runtimeDirectory = "\(folders.path)/other"
        let second = try Server(configuration)
        #expect(pruned("a/some", in: second) == 90)
        wait(for: 96, on: "a/some", in: second)
        #expect(pruned("b", in: second) == 0)
        stop(second)
    }

    private func pruned(_ channel: String, in server: Server) -> UInt64? {
        let hub = server.engine.hub
        return ChannelName(channel).flatMap { hub.channels.index(of: $0) }.map { hub.channels[$0].prunedSeq }
    }

    /// Until retention has removed everything up to there, which it does within a second or two.
    private func wait(for seq: UInt64, on channel: String, in server: Server) {
        let end = ContinuousClock.now + .seconds(20)
        while pruned(channel, in: server) != seq, ContinuousClock.now < end {
            _ = server.engine.turn(wait: false)
            usleep(1000)
        }
        #expect(pruned(channel, in: server) == seq)
    }

    @Test("a retention out of range is refused, whoever says it")
    func outOfRange() {
        for change in [
            { $0.count = 0 }, { $0.ageSeconds = -1 }, { $0.bytes = Configuration.Retention.bytesMost + 1 },
        ] as [(inout Configuration.Retention) -> Void] {
            var rules = Configuration.ChannelRules()
            var retention = Configuration.Retention()
            change(&retention)
            rules.retention = retention
            var configuration = Configuration()
            configuration.channelRules = [("a", rules)]
            #expect(throws: StartError.self) { _ = try RuleBook(configuration) }
        }
    }
}
