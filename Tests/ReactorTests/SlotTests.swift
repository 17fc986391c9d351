/// Slots, generations, tokens and queues.

import Glibc
import Testing

@testable import Reactor

@Suite("Slots")
struct SlotTests {
    @Test("the lowest free slot is taken, whatever was given back", arguments: [1, 2, 63, 64, 65, 4096, 4097, 5000])
    func lowestFirst(_ capacity: Int) throws {
        var set = try SlotSet(capacity: capacity)
        for slot in 0..<UInt32(capacity) { #expect(set.takeLowest() == slot) }
        #expect(set.takeLowest() == nil)
        var random = SplitMix(state: UInt64(capacity))
        var free: Set<UInt32> = []
        for _ in 0..<2000 {
            if Bool.random(using: &random), let lowest = free.min() {
                #expect(set.takeLowest() == lowest)
                free.remove(lowest)
            } else {
                let slot = UInt32(random.next() % UInt64(capacity))
                #expect(set.contains(slot) == !free.contains(slot))
                if free.insert(slot).inserted { set.free(slot) }
            }
            #expect(set.count == capacity - free.count)
        }
    }

    @Test("sixteen million slots cost nothing until used")
    func large() throws {
        var table = try SocketTable(capacity: 1 << 24)
        #expect(table.open(7, [])?.slot == 0)
        #expect(table.open(8, [])?.slot == 1)
        #expect(table.slotsUsed == 2)
    }

    @Test("an idle loop's memory does not depend on how many sockets it may have", arguments: TestBackend.available)
    func idleMemory(_ backend: TestBackend) async {
        // In a process of its own: the memory is the whole process's.
        await #expect(processExitsWith: .success) { [backend] in
            _ = try backend.makeLoop()
            let small = try residentBytes { $0.socketsMax = 64 }
            let large = try residentBytes { $0.socketsMax = 1 << 24 }
            #expect(large - small < 256 * 1024)

            func residentBytes(_ adjust: (inout LoopConfiguration) -> Void) throws -> Int {
                let before = SlotTests.residentBytes()
                let driver = try Driver(backend, adjust)
                let listener = try driver.listen(.unix)
                _ = try driver.connect(to: listener)
                return SlotTests.residentBytes() - before
            }
        }
    }

    /// This process's memory in use.
    private static func residentBytes() -> Int {
        let file = open("/proc/self/statm", O_RDONLY)
        defer { close(file) }
        var text = [UInt8](repeating: 0, count: 256)
        let count = read(file, &text, text.count)
        let fields = String(decoding: text[..<max(count, 0)], as: UTF8.self).split(separator: " ")
        return (Int(fields[1]) ?? 0) * 4096
    }

    @Test("an identifier names one socket only")
    func generations() throws {
        var table = try SocketTable(capacity: 2)
        let openedfirst = table.open(5, .listener)
        let first = try #require(openedfirst)
        #expect(first.slot == 0)
        #expect(first.generation == 1)
        #expect(table.find(0, 1)?.pointee.descriptor == 5)
        #expect(table.find(0, 2) == nil)
        #expect(table.find(1, 0) == nil)
        #expect(table.find(2, 0) == nil)
        #expect(table.find(.max, 0) == nil)
        table.free(0)
        #expect(table.find(0, 1) == nil)
        let openedsecond = table.open(6, [])
        let second = try #require(openedsecond)
        #expect(second == SocketID(slot: 0, generation: 2))
        #expect(table.living(0) == second)
        #expect(table.living(1) == nil)
        #expect(MemoryLayout<SocketRecord>.stride <= 24)
        #expect(MemoryLayout<RawCompletion>.stride == 16)
    }

    @Test("a generation wraps without ever being nothing")
    func wrap() throws {
        var table = try SocketTable(capacity: 1)
        let openedfirst = table.open(1, [])
        let first = try #require(openedfirst)
        table.record(first).pointee.generation = Token.generationMask
        table.free(0)
        #expect(table.open(1, [])?.generation == 1)
    }

    @Test("a token carries operation, slot and generation")
    func token() {
        let token = Token(.send, slot: 0xFFFF_FFFE, generation: 0xFF_FFFF)
        #expect(token.operation == .send)
        #expect(token.slot == 0xFFFF_FFFE)
        #expect(token.generation == 0xFF_FFFF)
        #expect(Token(rawValue: token.rawValue) == token)
        #expect(token.with(.receive).operation == .receive)
        #expect(Token(rawValue: 0).operation == nil)
        #expect(Token(rawValue: .max).operation == nil)
    }

    @Test("a queue keeps its order while it grows")
    func queue() {
        var queue = Queue<SocketID>(capacity: 4)
        var next: UInt32 = 0
        var expected: UInt32 = 0
        for round in 0..<200 {
            for _ in 0..<(round % 7 + 1) {
                queue.append(SocketID(slot: next, generation: 1))
                next += 1
            }
            for _ in 0..<(round % 5) {
                if let socket = queue.popFirst() {
                    #expect(socket.slot == expected)
                    expected += 1
                }
            }
        }
        #expect(queue.count == Int(next - expected))
    }
}
