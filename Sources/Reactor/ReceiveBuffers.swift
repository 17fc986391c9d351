/// The receive buffers that io_uring fills by itself.

import CIOUring
import CLinux
import Glibc

/// A ring of equal buffers lent to the kernel (provided-buffer ring). A receive takes one when bytes arrive, not
/// before: idle connections hold none. Memory is touched as far as it is used.
struct ReceiveBuffers: ~Copyable {
    /// The group that receives name.
    static let group: UInt16 = 1

    private let ringPages: ZeroPages
    private let bufferPages: ZeroPages
    private let ring: UnsafeMutablePointer<io_uring_buf_ring>
    private let mask: Int32
    let bufferBytes: Int
    let count: Int

    /// Reserves the memory and lends all of it to the kernel.
    /// - Parameters:
    ///   - count: rounded up to a power of two, at most 32,768.
    init(registeringWith uring: UnsafeMutablePointer<io_uring>, count: Int, bufferBytes: Int) throws(SystemError) {
        var entries = 1
        while entries < min(count, 32_768) { entries *= 2 }
        let ringPages = try ZeroPages(byteCount: entries * MemoryLayout<io_uring_buf>.stride)
        let bufferPages = try ZeroPages(byteCount: entries * bufferBytes)
        var registration = io_uring_buf_reg()
        registration.ring_addr = UInt64(UInt(bitPattern: ringPages.base))
        registration.ring_entries = UInt32(entries)
        registration.bgid = ReceiveBuffers.group
        let outcome = io_uring_register_buf_ring(uring, &registration, 0)
        if outcome < 0 { throw SystemError(errno: -outcome, operation: "io_uring_register (receive buffers)") }
        ring = ringPages.base.bindMemory(to: io_uring_buf_ring.self, capacity: 1)
        mask = Int32(entries - 1)
        self.bufferBytes = bufferBytes
        self.count = entries
        self.ringPages = ringPages
        self.bufferPages = bufferPages
        io_uring_buf_ring_init(ring)
        for index in 0..<entries {
            io_uring_buf_ring_add(ring, address(UInt16(index)), UInt32(bufferBytes), UInt16(index), mask, Int32(index))
        }
        io_uring_buf_ring_advance(ring, Int32(entries))
    }

    /// The start of a buffer.
    func address(_ buffer: UInt16) -> UnsafeMutableRawPointer {
        bufferPages.base + Int(buffer) * bufferBytes
    }

    /// Lends a buffer to the kernel again.
    func recycle(_ buffer: UInt16) {
        io_uring_buf_ring_add(ring, address(buffer), UInt32(bufferBytes), buffer, mask, 0)
        io_uring_buf_ring_advance(ring, 1)
    }
}
