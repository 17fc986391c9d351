/// The receive buffers that the backend lends to the simulated kernel.

import Glibc

/// Equal buffers in one piece of memory, poisoned whenever nobody may read them.
struct SimulatedReceiveBuffers: ~Copyable {
    static let poison: UInt8 = 0xdb

    let bytesEach: Int
    private let memory: UnsafeMutableRawBufferPointer
    /// As long as one buffer, and poison all over: what an untouched buffer is compared with.
    private let untouched: UnsafeMutableRawBufferPointer
    private var free: [UInt16]
    private var isLent: [Bool]

    init(count: Int, bytesEach: Int) {
        self.bytesEach = bytesEach
        memory = .allocate(byteCount: max(count * bytesEach, 1), alignment: 64)
        untouched = .allocate(byteCount: max(bytesEach, 1), alignment: 64)
        precondition(count <= 1 << 16, "a buffer's number has 16 bits")
        free = (0..<count).reversed().map { UInt16($0) }
        isLent = Array(repeating: false, count: count)
        memset(memory.baseAddress!, Int32(Self.poison), memory.count)
        memset(untouched.baseAddress!, Int32(Self.poison), untouched.count)
    }

    deinit {
        memory.deallocate()
        untouched.deallocate()
    }

    /// True exactly when every buffer is lent.
    var isExhausted: Bool { free.isEmpty }
    /// Buffers that the kernel has filled and the loop has not given back.
    var lentCount: Int { isLent.count - free.count }

    func bytes(of buffer: UInt16) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[Int(buffer) * bytesEach..<(Int(buffer) + 1) * bytesEach])
    }

    /// A buffer for the kernel to fill, and whether it was left alone since it was given back; nil if there is none.
    mutating func take() -> (buffer: UInt16, isIntact: Bool)? {
        guard let buffer = free.popLast() else { return nil }
        isLent[Int(buffer)] = true
        return (buffer, memcmp(bytes(of: buffer).baseAddress!, untouched.baseAddress!, bytesEach) == 0)
    }

    /// False if the buffer was not lent.
    mutating func giveBack(_ buffer: UInt16) -> Bool {
        guard isLent.indices.contains(Int(buffer)), isLent[Int(buffer)] else { return false }
        isLent[Int(buffer)] = false
        memset(bytes(of: buffer).baseAddress!, Int32(Self.poison), bytesEach)
        free.append(buffer)
        return true
    }

    /// Takes back whatever is lent.
    mutating func giveBackAll() {
        for index in isLent.indices where isLent[index] { _ = giveBack(UInt16(index)) }
    }
}
