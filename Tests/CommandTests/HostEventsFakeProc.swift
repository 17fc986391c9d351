/// A folder that looks like `/proc` and `/sys`, for the tests of HostEvents.

import Foundation
import HostEvents
import Testing

/// Writes the files that a test names into a temporary folder, and removes it at the end.
final class FakeProc {
    let folder: URL
    private var sampler: HostSampler
    private var now: UInt64 = 1_000_000

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "fanout-proc-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        sampler = HostSampler(
            root: folder.appending(path: "proc").path, sys: folder.appending(path: "sys").path, fileSystem: folder.path)
        try write("proc/uptime", "1000.00 1900.00\n")
    }

    deinit {
        try? FileManager.default.removeItem(at: folder)
    }

    func write(_ path: String, _ text: String) throws {
        try write(path, bytes: Array(text.utf8))
    }

    func write(_ path: String, bytes: [UInt8]) throws {
        let file = folder.appending(path: path)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: file)
    }

    func remove(_ path: String) throws {
        try FileManager.default.removeItem(at: folder.appending(path: path))
    }

    /// A process's folder. `name` may be any bytes.
    func process(
        _ pid: Int, name: [UInt8], parent: Int = 1, start: Int, state: String = "S", flags: Int = 0x40_0100,
        command: [UInt8] = [], uid: Int = 1000
    ) throws {
        let rest = ") \(state) \(parent) 1 1 0 -1 \(flags) 100 0 0 0 5 2 0 0 20 0 1 0 \(start) 2949120 300\n"
        try write("proc/\(pid)/stat", bytes: Array("\(pid) (".utf8) + name + Array(rest.utf8))
        try write("proc/\(pid)/cmdline", bytes: command)
        try write("proc/\(pid)/status", "Name:\tx\nUmask:\t0022\nUid:\t\(uid)\t0\t0\t0\nGid:\t0\t0\t0\t0\n")
    }

    /// The next sample, this much later, parsed by Foundation as a second opinion: each event is one line of JSON whose
    /// first member is `type`.
    func sample(after milliseconds: UInt64 = 1000) throws -> [FakeEvent] {
        now += milliseconds
        return try sampler.sample(now: now).map(FakeEvent.init)
    }
}

/// One event, parsed.
struct FakeEvent {
    let channel: String
    let type: String
    let members: [String: Any]
    let text: String

    init(_ event: HostEvent) throws {
        channel = event.channel
        text = try #require(String(validating: event.json, as: UTF8.self), "events are UTF-8")
        try #require(!text.contains { $0 == "\n" || $0 == "\r" }, "events have no line breaks")
        try #require(text.hasPrefix("{\"type\":\""))
        members = try #require(try JSONSerialization.jsonObject(with: Data(event.json)) as? [String: Any])
        type = try #require(members["type"] as? String)
    }

    func number(_ name: String) -> Double? { (members[name] as? NSNumber)?.doubleValue }
    func string(_ name: String) -> String? { members[name] as? String }
    func numbers(_ name: String) -> [Double]? { (members[name] as? [NSNumber])?.map(\.doubleValue) }
}

extension [FakeEvent] {
    func of(_ type: String) -> [FakeEvent] { filter { $0.type == type } }
}
