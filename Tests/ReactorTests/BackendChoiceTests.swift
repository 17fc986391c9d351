/// Which interface is used where io_uring is refused: real refusals, by a seccomp filter on a thread of its own.

import CLinux
import Glibc
import Testing

@testable import Reactor

@Suite("Choice of the backend", .serialized)
struct BackendChoiceTests {
    /// The three system calls; their numbers are the same on every architecture that is younger than them.
    enum Call: Int, CaseIterable, Sendable {
        case setup = 425
        case enter = 426
        case register = 427
    }

    @Test(
        "refused, automatic means epoll and says why", arguments: Call.allCases,
        [EPERM, ENOSYS, EACCES, ENOMEM, EINVAL, EMFILE])
    func fallsBack(_ call: Call, _ error: Int32) throws {
        let description = try onNewThread {
            try refuse(call, error)
            let loop = try EventLoop(LoopConfiguration())
            // It works, too.
            loop.wakeup.signal()
            loop.turn(wait: true)
            guard loop.next()?.kind == .woken else { return "not woken" }
            return loop.backendDescription
        }
        #expect(description.hasPrefix("epoll (io_uring refused: io_uring_"))
        #expect(description.contains(SystemError.name(of: error)))
        #expect(!description.contains("\n"))
    }

    @Test("refused, a demand for io_uring is an error with its likely cause", arguments: Call.allCases)
    func demanded(_ call: Call) throws {
        let causes: [(Int32, String)] = [
            (EPERM, "kernel.io_uring_disabled"), (ENOSYS, "6.0 or newer"), (ENOMEM, "locked memory"),
            (EACCES, "security module"), (EMFILE, "open files"), (EINVAL, "6.0 or newer"),
        ]
        for (error, cause) in causes {
            let thrown = try onNewThread { () -> SystemError? in
                try refuse(call, error)
                var configuration = LoopConfiguration()
                configuration.backend = .uring
                do throws(SystemError) {
                    _ = try EventLoop(configuration)
                    return nil
                } catch {
                    return error
                }
            }
            #expect(thrown?.errno == error)
            #expect(thrown?.advice.contains(cause) == true)
        }
    }

    @Test("an error that epoll would meet as well is not hidden")
    func others() {
        #expect(!UringSetup.mayFallBack(EFAULT))
        #expect(!UringSetup.mayFallBack(ENFILE))
        for error in [EPERM, ENOSYS, EACCES, ENOMEM, EINVAL, EMFILE] { #expect(UringSetup.mayFallBack(error)) }
    }

    @Test("an operation that the kernel does not have means epoll, whichever it is", arguments: UringSetup.operations)
    func missingOperation(_ operation: Int32) throws {
        guard TestBackend.available.contains(.uring) else { return }
        var configuration = LoopConfiguration()
        configuration.uringOperationHidden = operation
        let description = try EventLoop(configuration).backendDescription
        #expect(
            description.hasPrefix("epoll (io_uring refused: io_uring_register (operation \(operation) is missing): "))
        configuration.backend = .uring
        #expect { try EventLoop(configuration) } throws: {
            ($0 as? SystemError)?.errno == EINVAL && ($0 as? SystemError)?.advice.contains("6.0 or newer") == true
        }
    }

    @Test("each backend says what it is", arguments: TestBackend.everywhere)
    func descriptions(_ backend: TestBackend) throws {
        let loop = try backend.makeLoop()
        switch backend {
        case .epoll: #expect(loop.backendDescription == "epoll (asked for)")
        case .uring: #expect(loop.backendDescription.hasPrefix("io_uring ("))
        case .simulated: #expect(loop.backendDescription == "simulation (seed 1)")
        case .simulatedEpoll: #expect(loop.backendDescription == "simulation of epoll (seed 1)")
        }
    }

    @Test("older set-ups of io_uring work as well", arguments: [1, 2], Transport.allCases)
    func stepsDown(_ skipped: Int, _ transport: Transport) throws {
        guard TestBackend.available.contains(.uring) else { return }
        let driver = try Driver(.uring) { $0.uringModesSkipped = skipped }
        #expect(driver.loop.backendDescription == "io_uring (\(skipped == 1 ? "cooperative task run" : "plain"))")
        let listener = try driver.listen(transport)
        let pairs = try (0..<100).map { _ in try driver.connect(to: listener) }
        let bytes = pattern(30_000)
        for pair in pairs {
            pair.peer.write(bytes)
            driver.send(bytes, on: pair.socket)
        }
        try driver.run {
            driver.all(.sent).count == 100 && pairs.allSatisfy { driver.received($0.socket).count == bytes.count }
        }
        for pair in pairs {
            #expect(driver.received(pair.socket) == bytes)
            driver.loop.close(pair.socket, .graceful)
        }
        try driver.run { driver.all(.closed).count == 100 }
        let timer = driver.loop.makeTimer()
        driver.loop.setTimer(timer, at: driver.loop.now + 50)
        try driver.run { driver.all(.timer).count == 1 }
    }

    @Test("one turn enters the kernel once", arguments: TestBackend.available)
    func oneEnter(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.unix)
        let pairs = try (0..<100).map { _ in try driver.connect(to: listener) }
        driver.settle(milliseconds: 20)
        let before = driver.loop.stats
        for pair in pairs { driver.send([1, 2, 3], on: pair.socket) }
        driver.turn(wait: true)
        let after = driver.loop.stats
        #expect(after.enters - before.enters == 1)
        #expect(after.submissions - before.submissions == 100)
        #expect(driver.all(.sent).count == 100)
    }

    @Test("a completion queue that overflows loses nothing")
    func overflow() throws {
        guard TestBackend.available.contains(.uring) else { return }
        // 4 entries make a completion queue of 16; three hundred peers answer at once.
        let driver = try Driver(.uring) { $0.submissionEntries = 4 }
        let listener = try driver.listen(.unix)
        let pairs = try (0..<300).map { _ in try driver.connect(to: listener) }
        driver.settle(milliseconds: 20)
        for round in 1...3 {
            for pair in pairs { pair.peer.write([UInt8(round)]) }
            for pair in pairs { driver.send([UInt8(round)], on: pair.socket) }
            try driver.run {
                driver.all(.sent).count == 300 * round && driver.all(.received).count >= 300 * round
            }
        }
        for pair in pairs {
            #expect(driver.received(pair.socket) == [1, 2, 3])
            #expect(pair.peer.read() == [1, 2, 3])
        }
        #expect(driver.loop.stats.completionQueueOverflows > 0)
    }
}

/// Makes one of the thread's system calls fail from now on.
private func refuse(_ call: BackendChoiceTests.Call, _ error: Int32) throws {
    let outcome = linux_refuse_system_call(call.rawValue, error)
    if outcome < 0 { throw SystemError(errno: -outcome, operation: "seccomp") }
}
