/// The mask that clients put over payloads (RFC 6455 section 5.3), undone in place.
enum WebSocketMask {
    /// Undoes `mask`, whose lowest byte belongs to the first byte of `bytes`, and returns the mask for the byte behind
    /// them.
    static func remove(_ mask: UInt32, from bytes: UnsafeMutableBufferPointer<UInt8>) -> UInt32 {
        guard let base = bytes.baseAddress else { return mask }
        let memory = UnsafeMutableRawPointer(base)
        let wide = UInt64(mask) | UInt64(mask) << 32
        var offset = 0
        while bytes.count - offset >= 8 {
            let word = UInt64(littleEndian: memory.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ wide
            memory.storeBytes(of: word.littleEndian, toByteOffset: offset, as: UInt64.self)
            offset &+= 8
        }
        while offset < bytes.count {
            bytes[offset] ^= UInt8(truncatingIfNeeded: wide >> UInt64(8 * (offset & 7)))
            offset &+= 1
        }
        let turn = UInt32(8 * (bytes.count & 3))
        return turn == 0 ? mask : mask >> turn | mask << (32 - turn)
    }
}
