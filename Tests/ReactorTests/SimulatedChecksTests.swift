/// The checks of the simulated kernel: each is shown to notice what it is there for.

import Testing

@testable import Reactor

@Suite("Checks of the simulated kernel")
struct SimulatedChecksTests {
    /// Collects what the kernel objects to, in place of stopping the process.
    final class Objections {
        var sentences: [String] = []

        init(to kernel: SimulatedKernel) {
            kernel.onViolation = { [unowned self] in sentences.append($0) }
        }
    }

    @Test("a byte changed while its send waits is noticed")
    func changedWhileWaiting() throws {
        let rig = try SimulatedRig { $0.pipeBytes = 16 }
        let objections = Objections(to: rig.kernel)
        let fixed = FixedBytes(32)
        rig.send(fixed.all)
        fixed.bytes[31] ^= 1
        _ = rig.settle()
        #expect(objections.sentences.first?.contains("32 bytes being sent") == true)
    }

    @Test("a byte changed between its taking and its completion is noticed")
    func changedAfterTaking() throws {
        let rig = try SimulatedRig(faults: .only(.sendReportedLate, 1))
        let objections = Objections(to: rig.kernel)
        let fixed = FixedBytes(32)
        rig.send(fixed.all)
        #expect(rig.turn(wait: false).isEmpty)
        #expect(rig.kernel.peerRead(rig.peer).count == 32, "the peer has the bytes before the server knows")
        #expect(objections.sentences.isEmpty)
        fixed.bytes[0] ^= 1
        #expect(rig.settle().map(\.result) == [32])
        #expect(objections.sentences.count == 1)
    }

    @Test("a byte changed after the connection was severed, before its send has ended, is noticed")
    func changedAfterSevering() throws {
        let rig = try SimulatedRig { $0.pipeBytes = 16 }
        let objections = Objections(to: rig.kernel)
        let fixed = FixedBytes(16)
        rig.send(fixed.all)
        _ = rig.settle()
        rig.send(fixed.all)
        _ = rig.settle()
        _ = rig.kernel.sever(rig.server, reset: true)
        fixed.bytes[3] ^= 1
        _ = rig.settle()
        #expect(!objections.sentences.isEmpty)
    }

    @Test("unchanged bytes are no reason to object")
    func unchangedBytes() throws {
        let rig = try SimulatedRig(faults: .only(.sendReportedLate, 1))
        let objections = Objections(to: rig.kernel)
        let fixed = FixedBytes(32)
        rig.send(fixed.all)
        #expect(rig.settle().map(\.result) == [32])
        #expect(objections.sentences.isEmpty)
    }

    @Test("a second send, a second receive, another socket's token, and use after close are noticed")
    func misuse() throws {
        let rig = try SimulatedRig { $0.pipeBytes = 16 }
        let objections = Objections(to: rig.kernel)
        let fixed = FixedBytes(32)
        rig.send(fixed.all)
        rig.send(fixed.all)
        #expect(objections.sentences.last?.contains("second send") == true)
        rig.armReceive()
        rig.armReceive()
        #expect(objections.sentences.last?.contains("second receive") == true)
        rig.kernel.finishSending(rig.server)
        #expect(objections.sentences.last?.contains("with a send in flight") == true)
        rig.kernel.armReceive(rig.server, Token(.receive, slot: 1, generation: 2))
        #expect(objections.sentences.contains { $0.contains("another socket") })
        rig.kernel.close(rig.server, rig.socket)
        #expect(objections.sentences.last?.contains("operation in the kernel") == true)
        rig.armReceive()
        #expect(objections.sentences.last?.contains("not open") == true)
    }

    @Test("a receive buffer is poisoned when it is given back, and writing to it then is noticed")
    func poison() throws {
        let rig = try SimulatedRig { $0.receiveBufferCount = 1 }
        let objections = Objections(to: rig.kernel)
        rig.kernel.peerWrite(rig.peer, [1, 2, 3])
        rig.armReceive()
        rig.kernel.enter(timeoutMilliseconds: 0)
        let received = try #require(rig.kernel.next())
        let bytes = UnsafeMutableRawBufferPointer(start: rig.kernel.bytes(of: received.buffer), count: 3)
        #expect(bytes.elementsEqual([1, 2, 3]))
        rig.kernel.recycle(received.buffer)
        #expect(bytes.allSatisfy { $0 == SimulatedReceiveBuffers.poison })
        rig.kernel.recycle(received.buffer)
        #expect(objections.sentences.last?.contains("given back twice") == true)
        bytes[1] = 7
        rig.kernel.peerWrite(rig.peer, [4])
        _ = rig.settle()
        #expect(objections.sentences.last?.contains("written to after") == true)
    }

    @Test("entering with a buffer in hand or a completion not taken is noticed")
    func enteringTooEarly() throws {
        let rig = try SimulatedRig()
        let objections = Objections(to: rig.kernel)
        rig.kernel.peerWrite(rig.peer, [1])
        rig.armReceive()
        rig.kernel.enter(timeoutMilliseconds: 0)
        rig.kernel.enter(timeoutMilliseconds: 0)
        #expect(objections.sentences.contains { $0.contains("taken every completion") })
        #expect(objections.sentences.contains { $0.contains("held 1 receive buffers") })
    }
}
