/// What is not a connection: adopted descriptors, wake-ups, signals.

import CLinux
import Glibc
import Synchronization
import Testing

@testable import Reactor

@Suite("Other sources", .serialized)
struct SourceTests {
    /// A pipe: its reading and its writing end.
    private func makePipe() throws -> (reading: Int32, writing: Int32) {
        var ends: (Int32, Int32) = (-1, -1)
        let outcome = withUnsafeMutablePointer(to: &ends) {
            $0.withMemoryRebound(to: Int32.self, capacity: 2) { pipe($0) }
        }
        try #require(outcome == 0)
        return (ends.0, ends.1)
    }

    private func write(_ text: String, _ descriptor: Int32) {
        let bytes = Array(text.utf8)
        #expect(Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
    }

    @Test("a pipe is read to its end and never waited on", arguments: TestBackend.available, [true, false])
    func readPipe(_ backend: TestBackend, _ isBlocking: Bool) throws {
        let driver = try Driver(backend)
        let (reading, writing) = try makePipe()
        if !isBlocking { _ = linux_set_nonblocking(reading, 1) }
        let source = try driver.loop.adopt(descriptor: reading)
        driver.loop.receive(source)
        // Empty: the loop goes on with other things.
        driver.settle(milliseconds: 30)
        #expect(driver.all(.received).isEmpty)
        let turns = driver.loop.stats.ticks
        driver.settle(milliseconds: 100)
        #expect(driver.loop.stats.ticks - turns < 60, "an empty pipe keeps the loop busy")
        write("one\n", writing)
        try driver.run { driver.received(source).count == 4 }
        write("two\n", writing)
        try driver.run { driver.received(source).count == 8 }
        driver.loop.pauseReceiving(source)
        driver.settle(milliseconds: 20)
        write("three\n", writing)
        driver.settle()
        #expect(driver.received(source).count == 8)
        driver.loop.receive(source)
        try driver.run { driver.received(source).count == 14 }
        Glibc.close(writing)
        try driver.run { driver.all(.received).last?.result == 0 }
        #expect(driver.received(source) == Array("one\ntwo\nthree\n".utf8))
        driver.loop.close(source, .graceful)
        try driver.run { driver.all(.closed).count == 1 }
    }

    @Test("a large pipe loses nothing, whatever the pauses", arguments: TestBackend.available)
    func largePipe(_ backend: TestBackend) throws {
        let driver = try Driver(backend) { $0.receiveBufferBytes = 1000 }
        let (reading, writing) = try makePipe()
        _ = linux_set_nonblocking(writing, 1)
        let source = try driver.loop.adopt(descriptor: reading)
        let bytes = pattern(500_000)
        var written = 0
        var step = 0
        try driver.run {
            step += 1
            if step % 7 == 3 { driver.loop.pauseReceiving(source) } else { driver.loop.receive(source) }
            let rest = Array(bytes[written..<min(written + 9000, bytes.count)])
            let count = Glibc.write(writing, rest, rest.count)
            if count > 0 { written += count }
            return driver.received(source).count == bytes.count
        }
        #expect(driver.received(source) == bytes)
        Glibc.close(writing)
    }

    @Test("a file is read to its end", arguments: TestBackend.available)
    func file(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let path = "\(temporaryFolder)/file-\(backend.rawValue)"
        let bytes = pattern(100_000)
        let made = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        try #require(made >= 0)
        #expect(Glibc.write(made, bytes, bytes.count) == bytes.count)
        lseek(made, 0, SEEK_SET)
        let source = try driver.loop.adopt(descriptor: made)
        driver.loop.receive(source)
        try driver.run { driver.all(.received).last?.result == 0 }
        #expect(driver.received(source) == bytes)
        #expect(!driver.loop.isReceiving(source))
    }

    @Test("a socket may be adopted as a source", arguments: TestBackend.available)
    func socketPair(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        var pair: [Int32] = [-1, -1]
        try #require(linux_socket_pair(&pair) == 0)
        let source = try driver.loop.adopt(descriptor: pair[0])
        driver.loop.receive(source)
        driver.settle(milliseconds: 20)
        write("hello", pair[1])
        try driver.run { driver.received(source) == Array("hello".utf8) }
        Glibc.close(pair[1])
        try driver.run { driver.all(.received).last?.result == 0 }
    }

    @Test("a source that waits can be closed", arguments: TestBackend.available, [true, false])
    func closeWaiting(_ backend: TestBackend, _ isBlocking: Bool) throws {
        let driver = try Driver(backend)
        let (reading, writing) = try makePipe()
        if !isBlocking { _ = linux_set_nonblocking(reading, 1) }
        let source = try driver.loop.adopt(descriptor: reading)
        driver.loop.receive(source)
        driver.settle(milliseconds: 20)
        driver.loop.close(source, .graceful)
        try driver.run { driver.all(.closed).count == 1 }
        #expect(driver.all(.received).isEmpty)
        // Nobody reads any more: the descriptor was closed.
        var state = pollfd(fd: writing, events: Int16(POLLOUT), revents: 0)
        #expect(poll(&state, 1, 0) == 1)
        #expect(Int32(state.revents) & POLLERR != 0)
        Glibc.close(writing)
    }

    @Test("what cannot be read is refused", arguments: TestBackend.available)
    func refused(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let (reading, writing) = try makePipe()
        #expect(throws: SystemError.self) { try driver.loop.adopt(descriptor: writing) }
        #expect(throws: SystemError.self) { try driver.loop.adopt(descriptor: 99_999) }
        Glibc.close(reading)
        Glibc.close(writing)
    }

    @Test("another thread wakes a loop that waits without limit", arguments: TestBackend.available)
    func wakeup(_ backend: TestBackend) throws {
        let loop = try backend.makeLoop()
        let handle = loop.wakeup
        let thread = RunningThread {
            usleep(20_000)
            handle.signal()
        }
        var woken = 0
        while woken == 0 {
            loop.turn(wait: true)
            while let completion = loop.next() { if completion.kind == .woken { woken += 1 } }
        }
        try thread.join()
        #expect(woken == 1)
    }

    @Test("nothing handed over before a signal is missed", arguments: TestBackend.available)
    func handOver(_ backend: TestBackend) throws {
        let loop = try backend.makeLoop()
        let handle = loop.wakeup
        let posted = Counter()
        let threads = (0..<4).map { _ in
            RunningThread {
                for step in 0..<2000 {
                    posted.value.add(1, ordering: .sequentiallyConsistent)
                    handle.signal()
                    if step % 100 == 0 { usleep(100) }
                }
            }
        }
        var seen = 0
        var woken = 0
        while seen < 8000 {
            loop.turn(wait: true)
            while let completion = loop.next() {
                if completion.kind != .woken { continue }
                woken += 1
                seen = posted.value.load(ordering: .sequentiallyConsistent)
            }
        }
        for thread in threads { try thread.join() }
        #expect(woken <= 8000)
    }

    private final class Counter: Sendable {
        let value = Atomic<Int>(0)
    }

    @Test("several signals before a turn are one wake-up; a late one is harmless", arguments: TestBackend.available)
    func coalesced(_ backend: TestBackend) throws {
        var driver: Driver? = try Driver(backend)
        let handle = try #require(driver?.loop.wakeup)
        for _ in 0..<10 { handle.signal() }
        try driver?.run { driver?.all(.woken).isEmpty == false }
        driver?.settle()
        #expect(driver?.all(.woken).count == 1)
        handle.signal()
        try driver?.run { driver?.all(.woken).count == 2 }
        driver = nil
        handle.signal()
    }

    @Test("signals come as completions", arguments: TestBackend.available)
    func signals(_ backend: TestBackend) throws {
        // On a thread of its own, since signals are blocked per thread.
        try onNewThread {
            let driver = try Driver(backend)
            try driver.loop.watchSignals([SIGUSR1, SIGUSR2])
            pthread_kill(pthread_self(), SIGUSR1)
            pthread_kill(pthread_self(), SIGUSR2)
            try driver.run { driver.all(.signal).count == 2 }
            pthread_kill(pthread_self(), SIGUSR1)
            try driver.run { driver.all(.signal).count == 3 }
            #expect(driver.all(.signal).map(\.result).sorted() == [SIGUSR1, SIGUSR1, SIGUSR2])
            #expect(driver.all(.signal).last?.result == SIGUSR1)
            try driver.loop.watchSignals([SIGUSR1, SIGUSR2, SIGHUP])
            pthread_kill(pthread_self(), SIGHUP)
            try driver.run { driver.all(.signal).last?.result == SIGHUP }
        }
    }
}
