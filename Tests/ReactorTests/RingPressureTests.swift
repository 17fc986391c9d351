/// io_uring with too little of everything: places in its queues, receive buffers, the kernel's patience.

import CIOUring
import CLinux
import Glibc
import Synchronization
import Testing

@testable import Reactor

@Suite("A ring under pressure", .serialized)
struct RingPressureTests {
    /// Where the kernel has io_uring: its three set-ups, best first.
    static let setups = TestBackend.available.contains(.uring) ? [0, 1, 2] : []

    @Test("every byte arrives and every close is told once, in a storm", arguments: setups, Transport.allCases)
    func storm(_ setup: Int, _ transport: Transport) throws {
        // A completion queue of 16 for 200 sockets that are all ready at once, and two small buffers.
        let storm = try Storm(transport, seed: UInt64(setup)) {
            $0.uringModesSkipped = setup
            $0.submissionEntries = 4
            $0.receiveBufferCount = 2
            $0.receiveBufferBytes = 256
        }
        try storm.run(rounds: 8)
        let stats = storm.driver.loop.stats
        #expect(stats.completionQueueOverflows > 0)
        #expect(stats.receiveBufferExhaustions > 0)
        #expect(stats.staleCompletions == 0)
    }

    @Test("an enter that fails with EBUSY, EAGAIN, ENOMEM or EINTR now and then loses nothing", arguments: setups)
    func enterFails(_ setup: Int) throws {
        let supervisor = Supervisor()
        let outcome = try onNewThread { () -> Result<LoopStats, any Error> in
            // The ring is made first: a refusal then would mean epoll.
            let storm = try Storm(.unix, seed: 7, sockets: 40) {
                $0.uringModesSkipped = setup
                $0.submissionEntries = 8
                $0.receiveBufferCount = 4
            }
            let listener = linux_supervise_system_call(426)
            if listener < 0 { throw SystemError(errno: -listener, operation: "seccomp") }
            let thread = RunningThread { supervisor.answer(listener) }
            let outcome = Result {
                try storm.run(rounds: 4)
                return storm.driver.loop.stats
            }
            supervisor.stop()
            try thread.join()
            return outcome
        }
        #expect(try outcome.get().staleCompletions == 0)
        #expect(supervisor.refusals > 10)
    }

    @Test("a cancellation that races with data loses none of it", arguments: setups)
    func cancelRaces(_ setup: Int) throws {
        let driver = try Driver(.uring) {
            $0.uringModesSkipped = setup
            $0.submissionEntries = 4
            $0.receiveBufferCount = 2
            $0.receiveBufferBytes = 64
        }
        let listener = try driver.listen(.unix)
        let pairs = try (0..<50).map { _ in try driver.connect(to: listener) }
        var got: [SocketID: [UInt8]] = [:]
        driver.onCompletion = { [unowned driver] completion in
            if completion.kind == .received { got[completion.socket, default: []] += driver.loop.bytes(of: completion) }
        }
        let bytes = pattern(6_000)
        for step in 0..<60 {
            for (index, pair) in pairs.enumerated() {
                // Written between the request to cancel and its submission, and the other way round.
                if (step + index) % 2 == 0 { driver.loop.pauseReceiving(pair.socket) }
                pair.peer.write(Array(bytes[step * 100..<step * 100 + 100]))
                if (step + index) % 2 == 1 { driver.loop.pauseReceiving(pair.socket) }
                if (step + index) % 3 == 0 { driver.loop.receive(pair.socket) }
            }
            driver.turn()
        }
        for pair in pairs { driver.loop.receive(pair.socket) }
        try driver.run { pairs.allSatisfy { got[$0.socket]?.count == bytes.count } }
        for pair in pairs { #expect(got[pair.socket] == bytes) }
    }

    @Test("an entry to be filled is empty, and one that is filled with a send is written whole", arguments: setups)
    func entries(_ setup: Int) throws {
        let ring = try UringSetup(entries: 4, modesSkipped: setup, hidden: nil)
        defer {
            io_uring_queue_exit(ring.ring)
            ring.ring.deallocate()
        }
        try ring.enable()
        func bytes(_ entry: UnsafeMutablePointer<io_uring_sqe>) -> UnsafeMutableRawBufferPointer {
            UnsafeMutableRawBufferPointer(start: entry, count: MemoryLayout<io_uring_sqe>.stride)
        }
        // Four operations that no kernel has, in all the entries there are.
        for _ in 0..<4 {
            bytes(try #require(ring_next_entry(ring.ring))).initializeMemory(as: UInt8.self, repeating: 0xFF)
        }
        #expect(ring_next_entry(ring.ring) == nil)
        for _ in 0..<10 where ring_unsubmitted(ring.ring) > 0 {
            _ = ring_enter(ring.ring, ring.isRegistered ? 1 : 0, 0, 0)
        }
        let used = try #require(ring_next_entry(ring.ring))
        #expect(bytes(used).allSatisfy { $0 == 0xFF }, "as it was left")
        ring_prepare_send(used, 3, nil, 5, 7, 9)
        let emptied = try #require(ring_next_empty_entry(ring.ring))
        #expect(bytes(emptied).allSatisfy { $0 == 0 })
        ring_prepare_send(emptied, 3, nil, 5, 7, 9)
        #expect(bytes(used).elementsEqual(bytes(emptied)))
    }

    @Test("the ring does what the backend needs and nothing else", arguments: setups)
    func restricted(_ setup: Int) throws {
        let ring = try UringSetup(entries: 4, modesSkipped: setup, hidden: nil)
        defer {
            io_uring_queue_exit(ring.ring)
            ring.ring.deallocate()
        }
        try ring.enable()
        /// What becomes of one entry.
        func submit(_ prepare: (UnsafeMutablePointer<io_uring_sqe>) -> Void) throws -> Int32 {
            prepare(try #require(io_uring_get_sqe(ring.ring)))
            for _ in 0..<10 {
                _ = ring_enter(ring.ring, ring.isRegistered ? 1 : 0, 1, 1_000_000_000)
                var completion = io_uring_cqe()
                if ring_reap(ring.ring, &completion, 1) == 1 { return completion.res }
            }
            return 0
        }
        #expect(try submit { io_uring_prep_nop($0) } == -EACCES)
        #expect(try submit { io_uring_prep_openat($0, AT_FDCWD, "/dev/null", O_RDONLY, 0) } == -EACCES)
        #expect(try submit { io_uring_prep_close($0, 0) } == -EACCES)
        #expect(try submit { io_uring_prep_socket($0, AF_UNIX, 1, 0, 0) } == -EACCES)
        #expect(try submit { io_uring_prep_cancel64($0, 1, 0) } == -ENOENT)
        // An entry flag that the backend never sets: IOSQE_ASYNC.
        #expect(
            try submit {
                io_uring_prep_cancel64($0, 1, 0)
                $0.pointee.flags = 1 << 4
            } == -EACCES)
        #expect(io_uring_register_eventfd(ring.ring, 0) < 0)
    }
}

/// Answers each enter of a supervised thread: five in nine do what they do.
private final class Supervisor: Sendable {
    private let isOver = Atomic<Bool>(false)
    private let refused = Atomic<Int>(0)

    /// Enters that were refused so far.
    var refusals: Int { refused.load(ordering: .relaxed) }

    /// Answers until told to stop; calls that come later fail with ENOSYS.
    func answer(_ listener: Int32) {
        let answers = [0, EBUSY, 0, EAGAIN, 0, ENOMEM, EINTR, 0, 0]
        var place = 0
        while !isOver.load(ordering: .relaxed) {
            let answer = answers[place % answers.count]
            guard linux_answer_call(listener, answer) == 1 else { continue }
            if answer != 0 { refused.add(1, ordering: .relaxed) }
            place += 1
        }
        _ = linux_close(listener)
    }

    func stop() { isOver.store(true, ordering: .relaxed) }
}
