/// The simulated epoll calls alone: when an event comes, what it says, and which uses are noticed.

import CLinux
import Glibc
import Testing

@testable import Reactor

/// A simulated kernel behind its epoll calls, with one accepted connection that is watched for input.
private struct Rig {
    struct Event: Equatable {
        var data: UInt64
        var events: UInt32
    }

    let kernel: SimulatedKernel
    let calls: SimulatedCalls
    let epoll: Int32
    let listener: Int32
    let peer: SimulatedPeer
    let server: Int32
    private let events = UnsafeMutableBufferPointer<epoll_event>.allocate(capacity: 16)
    private let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 8)

    init(isUnix: Bool = false, pipeBytes: Int = 60, watchesInput: Bool = true) throws {
        var limits = SimulatedKernel.Limits()
        limits.pipeBytes = pipeBytes
        kernel = SimulatedKernel(seed: 1, limits: limits)
        calls = SimulatedCalls(kernel)
        epoll = calls.epollCreate()
        let address: SocketAddress = isUnix ? .unix(path: "events.socket") : .loopback(port: 7575)
        listener = try calls.openListener(address, ListenOptions())
        peer = try #require(kernel.connect(to: address))
        server = Int32(clamping: calls.accept(listener))
        try #require(server >= 0)
        if watchesInput { #expect(watch(server) == 0) }
    }

    func free() {
        events.deallocate()
        space.deallocate()
    }

    func watch(_ descriptor: Int32, _ events: UInt32 = linux_epoll_input_events, _ how: Int32 = EPOLL_CTL_ADD) -> Int32
    {
        calls.epollControl(epoll, how, descriptor, events, UInt64(descriptor))
    }

    func wait(_ timeoutMilliseconds: Int32 = 0) -> [Event] {
        let count = calls.epollWait(epoll, events.baseAddress!, 16, timeoutMilliseconds)
        return (0..<max(0, count)).map {
            Event(
                data: linux_epoll_data(events.baseAddress!, $0), events: linux_epoll_events(events.baseAddress!, $0))
        }
    }

    /// What a receive of up to `count` bytes gave; nil where it failed.
    func receive(_ count: Int = 64) -> [UInt8]? {
        let result = calls.receive(server, space.baseAddress!, count)
        return result < 0 ? nil : Array(space[..<Int(result)])
    }

    /// The place where received bytes lie.
    var lent: UnsafeMutableRawBufferPointer { space }

    func read(_ descriptor: Int32) -> Int64 { calls.read(descriptor, space.baseAddress!, space.count) }

    func send(_ bytes: UnsafeRawBufferPointer) -> Int64 {
        let gather = IOVectorBuffer()
        defer { gather.deallocate() }
        gather.append(bytes.baseAddress!, bytes.count)
        return calls.send(server, gather)
    }

    func event(_ events: EPOLL_EVENTS...) -> Event {
        Event(data: UInt64(server), events: events.reduce(0) { $0 | $1.rawValue })
    }
}

@Suite("Simulated epoll")
struct SimulatedEpollTests {
    @Test("an arrival is reported once; the next one is reported again, though the first was not read")
    func edges() throws {
        let rig = try Rig()
        defer { rig.free() }
        #expect(rig.wait() == [])
        rig.kernel.peerWrite(rig.peer, [1])
        #expect(rig.wait() == [rig.event(EPOLLIN)])
        #expect(rig.wait() == [])
        rig.kernel.peerWrite(rig.peer, [2])
        #expect(rig.wait() == [rig.event(EPOLLIN)])
        #expect(rig.receive() == [1, 2])
        #expect(rig.receive() == nil)
        #expect(rig.wait() == [])
    }

    @Test("what was read before the wait is not reported any more")
    func usedUp() throws {
        let rig = try Rig()
        defer { rig.free() }
        rig.kernel.peerWrite(rig.peer, [1])
        #expect(rig.receive() == [1])
        #expect(rig.wait() == [])
        rig.kernel.peerWrite(rig.peer, [2])
        #expect(rig.wait() == [rig.event(EPOLLIN)])
    }

    @Test("an interest that is set on something ready is reported without anything happening")
    func readyWhenSet() throws {
        let rig = try Rig(watchesInput: false)
        defer { rig.free() }
        rig.kernel.peerWrite(rig.peer, [1])
        #expect(rig.wait() == [])
        #expect(rig.watch(rig.server) == 0)
        #expect(rig.wait() == [rig.event(EPOLLIN)])
        #expect(rig.watch(rig.server, linux_epoll_all_events, EPOLL_CTL_MOD) == 0)
        #expect(rig.wait() == [rig.event(EPOLLIN, EPOLLOUT)])
        #expect(rig.wait() == [])
    }

    @Test("room is reported from a third of the buffer on TCP, from three quarters on unix", arguments: [false, true])
    func room(isUnix: Bool) throws {
        let rig = try Rig(isUnix: isUnix)
        defer { rig.free() }
        let fixed = FixedBytes(60)
        #expect(rig.send(fixed.all) == 60)
        #expect(rig.send(fixed.all) == -Int64(EAGAIN))
        #expect(rig.watch(rig.server, linux_epoll_all_events, EPOLL_CTL_MOD) == 0)
        #expect(rig.wait() == [])
        let enough = isUnix ? 45 : 20
        _ = rig.kernel.peerRead(rig.peer, max: enough - 1)
        #expect(rig.wait() == [])
        _ = rig.kernel.peerRead(rig.peer, max: 1)
        #expect(rig.wait() == [rig.event(EPOLLOUT)])
        _ = rig.kernel.peerRead(rig.peer, max: 1)
        #expect(rig.wait() == [rig.event(EPOLLOUT)])
        #expect(rig.watch(rig.server, linux_epoll_input_events, EPOLL_CTL_MOD) == 0)
        _ = rig.kernel.peerRead(rig.peer, max: 1)
        #expect(rig.wait() == [])
    }

    @Test("ends and errors are reported as Linux does, together with bytes that wait")
    func ends() throws {
        func events(isUnix: Bool, _ act: (Rig) -> Void) throws -> [Rig.Event] {
            let rig = try Rig(isUnix: isUnix)
            defer { rig.free() }
            rig.kernel.peerWrite(rig.peer, [1])
            act(rig)
            let events = rig.wait()
            return events.map { Rig.Event(data: 0, events: $0.events) }
        }
        func event(_ events: EPOLL_EVENTS...) -> [Rig.Event] {
            [Rig.Event(data: 0, events: events.reduce(0) { $0 | $1.rawValue })]
        }
        #expect(try events(isUnix: false) { $0.kernel.peerFinish($0.peer) } == event(EPOLLIN, EPOLLRDHUP))
        #expect(try events(isUnix: false) { $0.kernel.peerClose($0.peer) } == event(EPOLLIN, EPOLLRDHUP))
        #expect(try events(isUnix: true) { $0.kernel.peerFinish($0.peer) } == event(EPOLLIN, EPOLLRDHUP))
        #expect(try events(isUnix: true) { $0.kernel.peerClose($0.peer) } == event(EPOLLIN, EPOLLRDHUP, EPOLLHUP))
        let broken = event(EPOLLIN, EPOLLRDHUP, EPOLLHUP, EPOLLERR)
        #expect(try events(isUnix: false) { $0.kernel.peerReset($0.peer) } == broken)
        let both = try events(isUnix: false) { rig in
            rig.kernel.peerFinish(rig.peer)
            rig.calls.shutdown(rig.server, Int32(SHUT_WR))
        }
        #expect(both == event(EPOLLIN, EPOLLRDHUP, EPOLLHUP))
    }

    @Test("a short read tells of itself: on TCP by an event with the urgent byte's mark, on unix by the read")
    func shortReads() throws {
        for isUnix in [false, true] {
            let rig = try Rig(isUnix: isUnix)
            defer { rig.free() }
            rig.kernel.peerWrite(rig.peer, [1, 2, 3])
            #expect(rig.wait() == [rig.event(EPOLLIN)])
            rig.kernel.faults = .only(.partialReceive, 1)
            var endsEarly = false
            func read() -> Int64 { rig.calls.receiveMessage(rig.server, rig.lent.baseAddress!, 64, &endsEarly) }
            let first = read()
            #expect((1..<3).contains(first) && endsEarly == isUnix)
            #expect(rig.wait() == (isUnix ? [] : [rig.event(EPOLLIN, EPOLLPRI)]))
            // What was told is not told again.
            rig.kernel.faults = .none
            #expect(read() == 3 - first && !endsEarly)
            #expect(rig.wait() == [])
            rig.kernel.peerWrite(rig.peer, [4])
            #expect(rig.wait() == [rig.event(EPOLLIN)])
        }
    }

    @Test("a source is reported once for each time that it is asked for, as long as it has something")
    func oneRead() throws {
        let rig = try Rig()
        defer { rig.free() }
        let (source, peer) = rig.kernel.openSource()
        #expect(rig.watch(source, linux_epoll_one_read) == 0)
        rig.kernel.peerWrite(peer, [1, 2])
        let event = Rig.Event(data: UInt64(source), events: EPOLLIN.rawValue)
        #expect(rig.wait() == [event])
        rig.kernel.peerWrite(peer, [3])
        #expect(rig.wait() == [])
        #expect(rig.watch(source, linux_epoll_one_read, EPOLL_CTL_MOD) == 0)
        #expect(rig.wait() == [event])
    }

    @Test("a wait moves the clock to its end or to what comes next, and is interrupted without having waited")
    func waiting() throws {
        let rig = try Rig()
        defer { rig.free() }
        let start = rig.kernel.now
        #expect(rig.wait(500) == [])
        #expect(rig.kernel.now == start + 500)
        rig.kernel.faults = .only(.delayedCompletion, 1)
        rig.kernel.peerWrite(rig.peer, [1])
        #expect(rig.wait() == [])
        #expect(rig.wait(-1) == [rig.event(EPOLLIN)])
        #expect(rig.kernel.now > start + 500)
        rig.kernel.faults = .only(.interruptedTurn, 1)
        rig.kernel.peerWrite(rig.peer, [2])
        #expect(rig.wait(-1) == [])
        rig.kernel.faults = .none
        #expect(rig.wait(-1) == [rig.event(EPOLLIN)])
    }

    @Test("a stale event comes some time after the number was used again, with what was watched before")
    func stale() throws {
        let rig = try Rig()
        defer { rig.free() }
        rig.kernel.faults = .only(.staleEvent, 1)
        rig.calls.close(rig.server)
        #expect(rig.wait() == [])
        _ = try #require(rig.kernel.connect(to: .loopback(port: 7575)))
        #expect(rig.calls.accept(rig.listener) == Int64(rig.server))
        #expect((0..<200).flatMap { _ in rig.wait() }.map(\.data) == [UInt64(rig.server)])
        #expect(rig.kernel.trace.count(of: .staleEvent) == 1)
    }

    @Test("adding fails for want of memory or watches; one event may be all that a wait gives")
    func refusedAndSingle() throws {
        let rig = try Rig(watchesInput: false)
        defer { rig.free() }
        rig.kernel.faults = .only(.attachRefused, 1)
        #expect([-ENOMEM, -ENOSPC].contains(rig.watch(rig.server)))
        rig.kernel.faults = .only(.oneEventPerWait, 1)
        #expect(rig.watch(rig.server) == 0 && rig.watch(rig.listener) == 0)
        rig.kernel.peerWrite(rig.peer, [1])
        _ = try #require(rig.kernel.connect(to: .loopback(port: 7575)))
        let two = [rig.wait(), rig.wait()]
        #expect(two.map(\.count) == [1, 1])
        #expect(Set(two.joined().map(\.data)) == [UInt64(rig.server), UInt64(rig.listener)])
        #expect(rig.wait() == [])
    }
}

@Suite("Checks of the simulated epoll")
struct SimulatedEpollChecksTests {
    @Test("bytes that change before the wait which follows their send are noticed, others are not")
    func changedBytes() throws {
        let rig = try Rig()
        defer { rig.free() }
        let objections = SimulatedChecksTests.Objections(to: rig.kernel)
        let fixed = FixedBytes(8)
        #expect(rig.send(fixed.all) == 8)
        _ = rig.wait()
        fixed.bytes[0] ^= 1
        _ = rig.wait()
        #expect(objections.sentences == [])
        #expect(rig.send(fixed.all) == 8)
        fixed.bytes[0] ^= 1
        _ = rig.wait()
        #expect(objections.sentences.first?.contains("8 bytes being sent") == true)
    }

    @Test("received bytes are gone with the next receive, and with the wait")
    func lentBytes() throws {
        let rig = try Rig()
        defer { rig.free() }
        rig.kernel.peerWrite(rig.peer, [1, 2, 3, 4, 5])
        #expect(rig.receive(3) == [1, 2, 3])
        #expect(rig.receive(2) == [4, 5])
        #expect(Array(rig.lent[..<3]) == [4, 5, SimulatedReceiveBuffers.poison])
        _ = rig.wait()
        #expect(rig.lent[..<2].allSatisfy { $0 == SimulatedReceiveBuffers.poison })
    }

    @Test("a call on a closed descriptor, or on one of another kind, is noticed")
    func wrongDescriptors() throws {
        let rig = try Rig()
        defer { rig.free() }
        let objections = SimulatedChecksTests.Objections(to: rig.kernel)
        let fixed = FixedBytes(1)
        _ = rig.calls.accept(rig.server)
        #expect(objections.sentences.last?.contains("does not listen") == true)
        _ = rig.read(rig.server)
        #expect(objections.sentences.last?.contains("no byte source") == true)
        rig.calls.shutdown(rig.listener, Int32(SHUT_WR))
        #expect(objections.sentences.last?.contains("no connection") == true)
        rig.calls.close(rig.server)
        var count = objections.sentences.count
        for act in [{ _ = rig.receive() }, { _ = rig.send(fixed.all) }, { rig.calls.close(rig.server) }] {
            act()
            #expect(objections.sentences.count > count)
            #expect(objections.sentences[count].contains("not open"))
            count = objections.sentences.count
        }
    }

    @Test("an interest added twice, changed or dropped without being there, is noticed")
    func wrongInterests() throws {
        let rig = try Rig()
        defer { rig.free() }
        let objections = SimulatedChecksTests.Objections(to: rig.kernel)
        #expect(rig.watch(rig.server) == -EEXIST)
        #expect(rig.watch(rig.listener, 0, EPOLL_CTL_DEL) == -ENOENT)
        #expect(rig.watch(rig.listener, 0, EPOLL_CTL_MOD) == -ENOENT)
        #expect(objections.sentences.count == 3)
    }

    @Test("a read that would wait for ever, and a source closed while it is watched, are noticed")
    func sources() throws {
        let rig = try Rig()
        defer { rig.free() }
        let objections = SimulatedChecksTests.Objections(to: rig.kernel)
        let (source, peer) = rig.kernel.openSource()
        _ = rig.read(source)
        #expect(objections.sentences.last?.contains("waits for ever") == true)
        #expect(rig.watch(source, linux_epoll_one_read) == 0)
        rig.calls.close(source)
        #expect(objections.sentences.last?.contains("still in epoll") == true)
        #expect(rig.kernel.serverHasClosed(peer))
    }
}
