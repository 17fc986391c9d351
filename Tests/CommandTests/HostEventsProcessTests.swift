/// Processes that start and end, in a made-up `/proc` and on this machine.

import Foundation
import Testing

@testable import HostEvents

@Suite("Processes that start and end")
struct HostEventsProcessTests {
    @Test("the first scan says only how many there are")
    func firstScan() throws {
        let proc = try FakeProc()
        try proc.process(1, name: Array("init".utf8), parent: 0, start: 5)
        try proc.process(2, name: Array("kthreadd".utf8), parent: 0, start: 5, flags: 0x20_8040)
        try proc.process(77, name: Array("sh".utf8), start: 700)
        try proc.write("proc/self/stat", "1 (x) S")
        let events = try proc.sample().filter { $0.channel == "host/process" }
        #expect(events.map(\.type) == ["process.summary"])
        #expect(events.first?.number("processes") == 2)
        #expect(events.first?.number("kernel_threads") == 1)
    }

    @Test("a start tells who and what, an end how long it ran")
    func startAndEnd() throws {
        let proc = try FakeProc()
        try proc.process(1, name: Array("init".utf8), parent: 0, start: 5)
        _ = try proc.sample()
        try proc.process(
            4242, name: Array("git".utf8), parent: 77, start: 90_000, command: Array("git\0log\0-n 3\0".utf8), uid: 33)
        let started = try #require(try proc.sample().of("process.started").first)
        #expect(started.channel == "host/process")
        let expected =
            #"{"type":"process.started","pid":4242,"ppid":77,"name":"git","command":"git log -n 3","uid":33}"#
        #expect(started.text == expected)
        #expect(try proc.sample().of("process.started").isEmpty)
        try proc.remove("proc/4242")
        try proc.write("proc/uptime", "1002.50 1900.00\n")
        let events = try proc.sample()
        let ended = try #require(events.of("process.ended").first)
        let ran = 1002.5 - 90_000 / Double(sysconf(Int32(_SC_CLK_TCK)))
        #expect(ended.number("pid") == 4242)
        #expect(ended.string("name") == "git")
        #expect(ended.number("ran_s") == ran)
        #expect(events.of("process.started").isEmpty)
    }

    @Test("a number used again is one process ended and another started, in this order")
    func numberUsedAgain() throws {
        let proc = try FakeProc()
        try proc.process(50, name: Array("old".utf8), start: 1000)
        _ = try proc.sample()
        try proc.process(50, name: Array("new".utf8), start: 2000)
        let events = try proc.sample().filter { $0.channel == "host/process" }
        #expect(events.map(\.type) == ["process.ended", "process.started"])
        #expect(events.map { $0.string("name") } == ["old", "new"])
    }

    @Test("names and arguments may hold quotes, parentheses, line breaks and bytes that are no UTF-8")
    func hostileNames() throws {
        let proc = try FakeProc()
        try proc.process(1, name: Array("init".utf8), start: 5)
        _ = try proc.sample()
        let command = Array("a\n\"b\"\0\t\u{1}".utf8)
        try proc.process(10, name: Array(") Z 9 (\"\n\\".utf8), parent: 3, start: 10, command: command)
        try proc.process(11, name: [0xFF, 0x41, 0xC3], parent: 4, start: 11, command: [0x80, 0, 0xF0, 0x9F])
        let events = try proc.sample().of("process.started").sorted { $0.number("pid") ?? 0 < $1.number("pid") ?? 0 }
        #expect(events.count == 2)
        #expect(events.first?.string("name") == ") Z 9 (\"\n\\")
        #expect(events.first?.number("ppid") == 3)
        #expect(events.first?.string("command") == "a\n\"b\" \t\u{1}")
        #expect(events.last?.string("name") == "\u{FFFD}A\u{FFFD}")
        #expect(events.last?.number("ppid") == 4)
        #expect(events.last?.string("command") == "\u{FFFD} \u{FFFD}")
    }

    @Test("a command line is cut to 200 bytes, between two characters", arguments: 195...210)
    func longCommand(letters: Int) throws {
        let proc = try FakeProc()
        try proc.process(1, name: Array("init".utf8), start: 5)
        _ = try proc.sample()
        let command = String(repeating: "a", count: letters) + "€€€€€€"
        try proc.process(10, name: Array("x".utf8), start: 10, command: Array(command.utf8))
        let told = try #require(try proc.sample().of("process.started").first?.string("command"))
        #expect(command.hasPrefix(told))
        #expect((198...200).contains(told.utf8.count))
    }

    @Test("a process that vanishes while it is read is told with what is known, or not at all")
    func vanishing() throws {
        let proc = try FakeProc()
        try proc.process(1, name: Array("init".utf8), start: 5)
        _ = try proc.sample()
        try proc.process(10, name: Array("half".utf8), start: 10)
        try proc.remove("proc/10/cmdline")
        try proc.remove("proc/10/status")
        try proc.write("proc/11/cmdline", "gone\0")
        let events = try proc.sample().filter { $0.channel == "host/process" }
        #expect(events.map(\.text) == [#"{"type":"process.started","pid":10,"ppid":1,"name":"half"}"#])
    }

    @Test("a zombie has ended, and its end is told once")
    func zombies() throws {
        let proc = try FakeProc()
        try proc.process(10, name: Array("worker".utf8), start: 10)
        _ = try proc.sample()
        try proc.process(10, name: Array("worker".utf8), start: 10, state: "Z")
        #expect(try proc.sample().of("process.ended").count == 1)
        let later = try proc.sample()
        #expect(later.of("process.ended").isEmpty && later.of("process.started").isEmpty)
    }

    @Test("kernel threads come and go unsaid")
    func kernelThreads() throws {
        let proc = try FakeProc()
        try proc.process(1, name: Array("init".utf8), start: 5)
        _ = try proc.sample()
        try proc.process(90, name: Array("kworker/0:1".utf8), parent: 2, start: 90, flags: 0x420_8060)
        #expect(try proc.sample().filter { $0.channel == "host/process" }.isEmpty)
        try proc.remove("proc/90")
        #expect(try proc.sample().filter { $0.channel == "host/process" }.isEmpty)
    }

    @Test("a storm of processes is reported in part, with the number left out")
    func storm() throws {
        let proc = try FakeProc()
        try proc.process(1, name: Array("init".utf8), start: 5)
        _ = try proc.sample()
        for pid in 1000..<1250 { try proc.process(pid, name: Array("x".utf8), start: pid) }
        let events = try proc.sample()
        #expect(events.of("process.started").count == 200)
        #expect(events.of("process.summary").first?.number("not_reported") == 50)
        #expect(events.of("process.summary").first?.number("processes") == 251)
        #expect(try proc.sample().of("process.summary").isEmpty)
    }

    @Test("where /proc cannot be listed, nothing is said to have ended")
    func unreadable() throws {
        let proc = try FakeProc()
        try proc.process(10, name: Array("x".utf8), start: 10)
        _ = try proc.sample()
        try FileManager.default.moveItem(
            at: proc.folder.appending(path: "proc"), to: proc.folder.appending(path: "elsewhere"))
        #expect(try proc.sample().filter { $0.channel == "host/process" }.isEmpty)
    }

    @Test("a process of this machine is seen to start and to end")
    func ownMachine() throws {
        var sampler = HostSampler()
        _ = sampler.sample(now: 1000)
        var child: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("600"), nil]
        defer { arguments.forEach { free($0) } }
        try #require(posix_spawn(&child, "/bin/sleep", nil, nil, &arguments, nil) == 0)
        let started = try sampler.sample(now: 2000).map(FakeEvent.init)
            .first { $0.type == "process.started" && $0.number("pid") == Double(child) }
        #expect(started?.number("ppid") == Double(getpid()))
        #expect(started?.number("uid") == Double(getuid()))
        kill(child, SIGKILL)
        var status: Int32 = 0
        #expect(waitpid(child, &status, 0) == child)
        let ended = try sampler.sample(now: 3000).map(FakeEvent.init)
            .first { $0.type == "process.ended" && $0.number("pid") == Double(child) }
        #expect(ended != nil)
    }
}
